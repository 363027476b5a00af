CREATE TABLE lora_products (
    product_key TEXT PRIMARY KEY REFERENCES products (product_key) ON DELETE CASCADE,
    join_permission TEXT NOT NULL
) STRICT;
CREATE TABLE lora_nodes (
    device_id INTEGER PRIMARY KEY REFERENCES devices (id) ON DELETE CASCADE,
    dev_eui TEXT NOT NULL UNIQUE,
    pin_code TEXT NOT NULL
) STRICT;
