INSERT INTO loyalty.points
SELECT customer, sum(points)
FROM raw.receipts
WHERE day = '{{ macros.ds_add(ds, -1 | }}'
GROUP BY customer;
