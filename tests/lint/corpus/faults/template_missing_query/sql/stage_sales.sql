INSERT INTO stage.sales SELECT * FROM raw.sales WHERE day = '{{ ds }}';
