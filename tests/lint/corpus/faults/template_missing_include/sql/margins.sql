INSERT INTO mart.margins
SELECT item, price - cost FROM raw.prices
{% include "sql/only_active.sql" %};
