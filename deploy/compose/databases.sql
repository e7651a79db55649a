-- Postgres runs this once, when its volume is new. Each service has a database
-- of its own.
CREATE DATABASE orders;
CREATE DATABASE payments;
CREATE DATABASE llm_gateway;
