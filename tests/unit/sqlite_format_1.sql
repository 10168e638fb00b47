-- Written by LCH 1.0.0 (its own code, then dumped): letters waiting, outcomes, and two messages under way when it was killed.
BEGIN TRANSACTION;
CREATE TABLE letters (
    number INTEGER PRIMARY KEY AUTOINCREMENT, customer TEXT NOT NULL, at REAL NOT NULL, text TEXT NOT NULL
);
INSERT INTO "letters" VALUES(1795617140428005,'kim',1790000000.0,'{"type":"text","customer_id":"kim","message_id":"m0","text":["letter 0"]}');
INSERT INTO "letters" VALUES(1795617140428006,'kim',1790000001.0,'{"type":"text","customer_id":"kim","message_id":"m1","text":["letter 1"]}');
INSERT INTO "letters" VALUES(1795617140428007,'kim',1790000002.0,'{"type":"text","customer_id":"kim","message_id":"m2","text":["letter 2"]}');
INSERT INTO "letters" VALUES(1795617140428008,'ümläut "quoted"',1790000003.0,'{"type":"text","text":["Gr\u00fc\u00dfe"]}');
CREATE TABLE seen (fingerprint TEXT PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID;
INSERT INTO "seen" VALUES('check',1790000008.0);
INSERT INTO "seen" VALUES('fingerprint 0',1790000000.0);
INSERT INTO "seen" VALUES('fingerprint 1',1790000001.0);
INSERT INTO "seen" VALUES('fingerprint 2',1790000002.0);
CREATE TABLE to_dms (key TEXT PRIMARY KEY, at REAL NOT NULL, process TEXT NOT NULL, outcome TEXT) WITHOUT ROWID;
INSERT INTO "to_dms" VALUES('failed',1790000003.0,'1608bd16b99548b79f025cf26bc3b345 2','{"status":"failed","dms_status":400,"error":"DMS answered 400"}');
INSERT INTO "to_dms" VALUES('sent',1790000003.0,'1608bd16b99548b79f025cf26bc3b345 1','{"status":"sent","dms_status":200}');
INSERT INTO "to_dms" VALUES('under way',1790000008.0,'1608bd16b99548b79f025cf26bc3b345 3',NULL);
INSERT INTO "to_dms" VALUES('waiting',1790000008.0,'1608bd16b99548b79f025cf26bc3b345 4',NULL);
CREATE INDEX letters_of_customer ON letters (customer, number);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('letters',1795617140428008);
COMMIT;
PRAGMA user_version = 1;
