CREATE TABLE product_tags (
    product_key TEXT NOT NULL REFERENCES products (product_key) ON DELETE CASCADE,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (product_key, key)
) STRICT;
CREATE INDEX product_tags_by_key ON product_tags (key, value);
