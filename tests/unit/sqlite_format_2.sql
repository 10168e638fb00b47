-- Written by LCH of format 2 (its own code, then dumped): messages waiting both ways, and outcomes.
BEGIN TRANSACTION;
CREATE TABLE letters (
    number INTEGER PRIMARY KEY AUTOINCREMENT, customer TEXT NOT NULL, at REAL NOT NULL, text TEXT NOT NULL
);
INSERT INTO "letters" VALUES(1795626428819202,'kim',1790000000.0,'{"text":["letter 0"]}');
INSERT INTO "letters" VALUES(1795626428819203,'kim',1790000001.0,'{"text":["letter 1"]}');
CREATE TABLE outbox (
    number INTEGER PRIMARY KEY, customer TEXT NOT NULL, at REAL NOT NULL, key TEXT NOT NULL, ticket TEXT NOT NULL,
    message_id TEXT NOT NULL, type TEXT NOT NULL, body TEXT NOT NULL, poster TEXT, is_posted INTEGER NOT NULL
);
INSERT INTO "outbox" VALUES(1790000001000003,'kim',1790000001.0,'waits','e4ed7a48a5e44d05 waits','3','text','{"text":["waits"]}','',0);
INSERT INTO "outbox" VALUES(1790000001000004,'kim',1790000001.0,'second','e4ed7a48a5e44d05 second','4','text','{"text":["second"]}',NULL,0);
CREATE TABLE seen (fingerprint TEXT PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID;
INSERT INTO "seen" VALUES('fingerprint 0',1790000000.0);
CREATE TABLE statuses (number INTEGER PRIMARY KEY, customer TEXT NOT NULL, at REAL NOT NULL, text TEXT NOT NULL);
CREATE TABLE to_dms (key TEXT PRIMARY KEY, at REAL NOT NULL, process TEXT NOT NULL, outcome TEXT) WITHOUT ROWID;
INSERT INTO "to_dms" VALUES('failed',1789914201.0,'','{"status":"failed","dms_status":400,"error":"DMS answered 400"}');
INSERT INTO "to_dms" VALUES('sent',1790000001.0,'','{"status":"sent","dms_status":200}');
CREATE INDEX letters_of_customer ON letters (customer, number);
CREATE INDEX outbox_of_customer ON outbox (customer, number);
CREATE INDEX outbox_by_poster ON outbox (poster) WHERE poster IS NOT NULL;
CREATE INDEX statuses_of_customer ON statuses (customer);
CREATE INDEX to_dms_by_time ON to_dms (at);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('letters',1795626428819203);
COMMIT;
PRAGMA user_version = 2;
