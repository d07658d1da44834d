MERGE INTO mart.sales USING stage.sales ON mart.sales.id = stage.sales.id
WHEN NOT MATCHED THEN INSERT (id, day) VALUES (stage.sales.id, '{{ ds }}');
