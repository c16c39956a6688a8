#include "service/store_internal.h"

/* A bucket is what commands have in common that people search for: org, target, action and
 * status. There are few, so a search finds its buckets first and then merges their commands,
 * each bucket being ordered by creation, change and expiry. That makes every combination of
 * filters and orders quick with three small indexes, and a status change moves one command
 * from one bucket to another.
 *
 * seq is the time of creation in milliseconds times 4096 plus a counter, so creation order,
 * creation time and row order are one. due_at is only set while a command can still end. */
const char store_schema[] =
    "CREATE TABLE setting (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE token ("
    " number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, digest BLOB NOT NULL UNIQUE,"
    " role INTEGER NOT NULL, org TEXT NOT NULL, agent TEXT NOT NULL,"
    " created_at INTEGER NOT NULL, revoked_at INTEGER NOT NULL DEFAULT 0);"
    "CREATE TABLE bucket ("
    " number INTEGER PRIMARY KEY, org TEXT NOT NULL, target TEXT NOT NULL,"
    " status INTEGER NOT NULL, action TEXT NOT NULL, UNIQUE (org, target, status, action));"
    "CREATE TABLE command ("
    " seq INTEGER PRIMARY KEY, salt INTEGER NOT NULL, bucket INTEGER NOT NULL,"
    " token INTEGER NOT NULL, updated_at INTEGER NOT NULL, expires_at INTEGER NOT NULL,"
    " due_at INTEGER, attempt INTEGER NOT NULL, delivery INTEGER NOT NULL,"
    " response INTEGER NOT NULL, receipt BLOB, changes BLOB);"
    "CREATE INDEX command_created ON command (bucket);"
    "CREATE INDEX command_updated ON command (bucket, updated_at);"
    "CREATE INDEX command_expires ON command (bucket, expires_at);"
    "CREATE INDEX command_due ON command (due_at) WHERE due_at IS NOT NULL;"
    "CREATE TABLE request (seq INTEGER PRIMARY KEY, payload BLOB NOT NULL, metadata BLOB);"
    "CREATE TABLE response (seq INTEGER PRIMARY KEY, body BLOB NOT NULL);"
    "CREATE TABLE metadata ("
    " pair INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (pair, seq)) WITHOUT ROWID;"
    "CREATE TABLE idempotency ("
    " seq INTEGER PRIMARY KEY, org TEXT NOT NULL, key TEXT NOT NULL, digest BLOB NOT NULL,"
    " UNIQUE (org, key));";

const char *const store_sql[SQL_COUNT] = {
    [SQL_BEGIN] = "BEGIN IMMEDIATE",
    [SQL_COMMIT] = "COMMIT",
    [SQL_ROLLBACK] = "ROLLBACK",
    [SQL_TOKEN_ADD] = "INSERT INTO token (id, digest, role, org, agent, created_at)"
		      " VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    [SQL_TOKEN_FIND] = "SELECT number, id, role, org, agent, created_at, revoked_at, digest"
		       " FROM token WHERE digest = ?1",
    [SQL_TOKEN_REVOKE] = "UPDATE token SET revoked_at = CASE revoked_at WHEN 0 THEN ?2"
			 " ELSE revoked_at END WHERE id = ?1",
    [SQL_TOKEN_EACH] = "SELECT number, id, role, org, agent, created_at, revoked_at, digest"
		       " FROM token ORDER BY number",
    [SQL_BUCKET_FIND] = "SELECT number FROM bucket"
			" WHERE org = ?1 AND target = ?2 AND status = ?3 AND action = ?4",
    [SQL_BUCKET_ADD] = "INSERT INTO bucket (org, target, status, action) VALUES (?1, ?2, ?3, ?4)",
    [SQL_BUCKET_PENDING] = "SELECT number FROM bucket"
			   " WHERE org = ?1 AND target = ?2 AND status = ?3",
    [SQL_BUCKET_ORG] = "SELECT number, target, status, action FROM bucket WHERE org = ?1",
    [SQL_BUCKET_TERMINAL] = "SELECT number FROM bucket WHERE status >= ?1",
    [SQL_BUCKET_EMPTY] = "SELECT number FROM bucket WHERE NOT EXISTS"
			 " (SELECT 1 FROM command WHERE command.bucket = bucket.number) LIMIT 1000",
    [SQL_BUCKET_DELETE] = "DELETE FROM bucket WHERE number = ?1",
    [SQL_ACTIONS] = "SELECT DISTINCT action FROM bucket WHERE org = ?1 AND EXISTS"
		    " (SELECT 1 FROM command WHERE command.bucket = bucket.number) ORDER BY action",
    [SQL_LAST_SEQ] = "SELECT ifnull(max(seq), 0) FROM command",
    [SQL_COMMAND_ADD] = "INSERT INTO command (seq, salt, bucket, token, updated_at, expires_at,"
			" due_at, attempt, delivery, response)"
			" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, ?8, 0)",
    [SQL_COMMAND_GET] = "SELECT c.seq, c.salt, b.org, b.target, b.action, b.status, c.updated_at,"
			" c.expires_at, c.due_at, c.attempt, c.delivery, c.response, c.receipt,"
			" c.changes, c.token, t.id, length(r.payload)"
			" FROM command c JOIN bucket b ON b.number = c.bucket"
			" JOIN request r ON r.seq = c.seq"
			" LEFT JOIN token t ON t.number = c.token WHERE c.seq = ?1",
    [SQL_COMMAND_UPDATE] = "UPDATE command SET bucket = ?2, updated_at = ?3, due_at = ?4,"
			   " attempt = ?5, response = ?6, receipt = ?7, changes = ?8"
			   " WHERE seq = ?1",
    [SQL_COMMAND_OLDEST] = "SELECT seq FROM command INDEXED BY command_created"
			   " WHERE bucket = ?1 ORDER BY seq LIMIT ?2",
    [SQL_COMMAND_DUE] = "SELECT seq FROM command INDEXED BY command_due"
			" WHERE due_at IS NOT NULL AND due_at <= ?1 ORDER BY due_at LIMIT ?2",
    [SQL_NEXT_DUE] = "SELECT due_at FROM command INDEXED BY command_due"
		     " WHERE due_at IS NOT NULL ORDER BY due_at LIMIT 1",
    [SQL_REQUEST_ADD] = "INSERT INTO request (seq, payload, metadata) VALUES (?1, ?2, ?3)",
    [SQL_RESPONSE_PUT] = "INSERT OR REPLACE INTO response (seq, body) VALUES (?1, ?2)",
    [SQL_TEXTS] = "SELECT r.payload, r.metadata, s.body FROM request r"
		  " LEFT JOIN response s ON s.seq = r.seq WHERE r.seq = ?1",
    [SQL_METADATA_ADD] = "INSERT OR IGNORE INTO metadata (pair, seq) VALUES (?1, ?2)",
    [SQL_KEY_PUT] = "INSERT OR REPLACE INTO idempotency (seq, org, key, digest)"
		    " VALUES (?1, ?2, ?3, ?4)",
    [SQL_KEY_FIND] = "SELECT seq, digest FROM idempotency"
		     " WHERE org = ?1 AND key = ?2 AND seq >= ?3",
    [SQL_KEY_FORGET] = "DELETE FROM idempotency WHERE seq IN"
		       " (SELECT seq FROM idempotency WHERE seq < ?1 LIMIT ?2)",
    [SQL_FORGET_FIND] = "SELECT seq, response FROM command INDEXED BY command_updated"
			" WHERE bucket = ?1 AND updated_at < ?2 LIMIT ?3",
    [SQL_FORGET_COMMAND] = "DELETE FROM command WHERE seq = ?1",
    [SQL_FORGET_REQUEST] = "DELETE FROM request WHERE seq = ?1",
    [SQL_FORGET_RESPONSE] = "DELETE FROM response WHERE seq = ?1",
    [SQL_FORGET_METADATA] = "DELETE FROM metadata WHERE pair = ?1 AND seq = ?2",
};
