CREATE TABLE lora_products (
    product_key TEXT COLLATE "C" PRIMARY KEY REFERENCES products (product_key) ON DELETE CASCADE,
    join_permission TEXT COLLATE "C" NOT NULL
);
CREATE TABLE lora_nodes (
    device_id BIGINT PRIMARY KEY REFERENCES devices (id) ON DELETE CASCADE,
    dev_eui TEXT COLLATE "C" NOT NULL UNIQUE,
    pin_code TEXT COLLATE "C" NOT NULL
);
