#include "base/clock.h"
#include "base/secret.h"
#include "service/store_internal.h"

#include <string.h>

static int add_token(struct store *store, const struct token *token,
		     const uint8_t digest[SHA256_SIZE], struct error *err)
{
	sqlite3_stmt *add = store_statement(store, SQL_TOKEN_ADD, err);
	if (!add)
		return ERR_SYSTEM;
	(void)sqlite3_bind_text(add, 1, token->id, -1, SQLITE_STATIC);
	(void)sqlite3_bind_blob(add, 2, digest, SHA256_SIZE, SQLITE_STATIC);
	(void)sqlite3_bind_int(add, 3, (int)token->role);
	(void)sqlite3_bind_text(add, 4, token->org, -1, SQLITE_STATIC);
	(void)sqlite3_bind_text(add, 5, token->agent, -1, SQLITE_STATIC);
	(void)sqlite3_bind_int64(add, 6, token->created_ms);
	return store_run(store, add, "store a token", err);
}

int store_token_add(struct store *store, struct token *token, const uint8_t digest[SHA256_SIZE],
		    struct error *err)
{
	random_uuid(token->id);
	token->created_ms = clock_now_ms();
	int rc = store_write(store, err);
	if (rc < 0)
		return rc;
	rc = add_token(store, token, digest, err);
	int committed = store_commit(store, err);
	return rc < 0 ? rc : committed;
}

static void read_token(sqlite3_stmt *row, struct token *token)
{
	token->number = sqlite3_column_int64(row, 0);
	store_column_text(row, 1, token->id, sizeof token->id);
	token->role = (enum role)sqlite3_column_int(row, 2);
	store_column_text(row, 3, token->org, sizeof token->org);
	store_column_text(row, 4, token->agent, sizeof token->agent);
	token->created_ms = sqlite3_column_int64(row, 5);
	token->revoked_ms = sqlite3_column_int64(row, 6);
}

/* The index finds by comparing digests byte by byte, which tells nothing: who asks knows a
 * token, not which digest it will have. What decides is compared in constant time. */
static bool is_digest(sqlite3_stmt *row, const uint8_t digest[SHA256_SIZE])
{
	struct secret stored = {(char *)(uintptr_t)sqlite3_column_blob(row, 7),
				(size_t)sqlite3_column_bytes(row, 7)};
	return secret_equal(&stored, digest, SHA256_SIZE);
}

int store_token_find(struct store *store, const uint8_t digest[SHA256_SIZE], struct token *token,
		     struct error *err)
{
	sqlite3_stmt *find = store_statement(store, SQL_TOKEN_FIND, err);
	if (!find)
		return ERR_SYSTEM;
	(void)sqlite3_bind_blob(find, 1, digest, SHA256_SIZE, SQLITE_STATIC);
	int rc = store_step(store, find, "look a token up", err);
	bool is_valid = rc > 0 && is_digest(find, digest) && sqlite3_column_int64(find, 6) == 0;
	if (is_valid)
		read_token(find, token);
	(void)sqlite3_reset(find); /* the failure is known already */
	if (rc < 0)
		return rc;
	return is_valid ? 0 : error_set(err, ERR_NOT_FOUND, "no such token");
}

int store_token_revoke(struct store *store, const char *id, int64_t now_ms, struct error *err)
{
	int rc = store_write(store, err);
	if (rc < 0)
		return rc;
	sqlite3_stmt *revoke = store_statement(store, SQL_TOKEN_REVOKE, err);
	if (revoke) {
		(void)sqlite3_bind_text(revoke, 1, id, -1, SQLITE_STATIC);
		(void)sqlite3_bind_int64(revoke, 2, now_ms);
		rc = store_run(store, revoke, "revoke a token", err);
	}
	int changed = sqlite3_changes(store->db);
	int committed = store_commit(store, err);
	if (rc < 0 || committed < 0)
		return rc < 0 ? rc : committed;
	return changed > 0 ? 0 : error_set(err, ERR_NOT_FOUND, "there is no token %s", id);
}

int store_token_each(struct store *store, void (*each)(void *context, const struct token *token),
		     void *context, struct error *err)
{
	sqlite3_stmt *all = store_statement(store, SQL_TOKEN_EACH, err);
	if (!all)
		return ERR_SYSTEM;
	int rc;
	while ((rc = store_step(store, all, "list the tokens", err)) > 0) {
		struct token token;
		read_token(all, &token);
		each(context, &token);
	}
	(void)sqlite3_reset(all); /* the failure is known already */
	return rc;
}
