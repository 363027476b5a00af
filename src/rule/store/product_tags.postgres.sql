CREATE TABLE product_tags (
    product_key TEXT COLLATE "C" NOT NULL REFERENCES products (product_key) ON DELETE CASCADE,
    key TEXT COLLATE "C" NOT NULL,
    value TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (product_key, key)
);
CREATE INDEX product_tags_by_key ON product_tags (key, value);
