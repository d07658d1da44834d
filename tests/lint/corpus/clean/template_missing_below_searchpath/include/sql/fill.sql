INSERT INTO mart.stock SELECT item, sum(quantity) FROM raw.stock WHERE day <= '{{ ds }}' GROUP BY item;
