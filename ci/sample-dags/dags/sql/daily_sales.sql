-- One row per article and day; the DAG daily_sales puts the day in.
SELECT article, SUM(pieces) AS pieces, SUM(pieces * cents) AS cents
FROM orders
WHERE ordered_on = :day
GROUP BY article
ORDER BY article;
