TRUNCATE TABLE mart.stock;
