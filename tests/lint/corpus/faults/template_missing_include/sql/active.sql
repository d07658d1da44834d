WHERE active AND day = '{{ ds }}'
