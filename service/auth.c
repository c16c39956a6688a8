#include "service/auth.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "service/routes.h"
#include "service/service.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum {
	TOKEN_BYTES = 32,
	TOKEN_TEXT_MAX = 512,
	DELAY_FIRST_MS = 250,
	DELAY_MAX_MS = 4000,
	FORGIVE_MS = 10 * 60 * 1000,
};

const char *role_name(enum role role)
{
	return role == ROLE_AGENT ? "agent" : "requestor";
}

void token_make(enum role role, struct secret *text, uint8_t digest[SHA256_SIZE])
{
	uint8_t bytes[TOKEN_BYTES];
	char hex[SHA256_TEXT_SIZE];
	char whole[SHA256_TEXT_SIZE + 8];
	random_bytes(bytes, sizeof bytes);
	digest_to_hex(bytes, hex); /* as many bytes as a digest */
	(void)snprintf(whole, sizeof whole, "cs_%c_%s", role == ROLE_AGENT ? 'a' : 'r', hex);
	secret_set(text, whole, strlen(whole));
	digest_sha256(whole, strlen(whole), digest);
	secret_wipe(bytes, sizeof bytes);
	secret_wipe(hex, sizeof hex);
	secret_wipe(whole, sizeof whole);
}

/* ---- Addresses */

static void read_address(const struct request *request, uint8_t address[16])
{
	memset(address, 0, 16);
	const union MHD_ConnectionInfo *info =
	    MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	if (!info || !info->client_addr)
		return;
	if (info->client_addr->sa_family == AF_INET) {
		struct sockaddr_in v4;
		memcpy(&v4, info->client_addr, sizeof v4);
		address[10] = address[11] = 0xFF;
		memcpy(address + 12, &v4.sin_addr, 4);
	} else if (info->client_addr->sa_family == AF_INET6) {
		struct sockaddr_in6 v6;
		memcpy(&v6, info->client_addr, sizeof v6);
		/* Who has one address of a network has 2^64. */
		memcpy(address, &v6.sin6_addr, IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr) ? 16 : 8);
	}
}

static struct guard_entry *guard_find(struct guard *guard, const uint8_t address[16])
{
	for (size_t i = 0; guard->count > 0 && i < GUARD_ADDRESSES; i++) {
		struct guard_entry *entry = &guard->entries[i];
		if (entry->seen_ms > 0 && memcmp(entry->address, address, 16) == 0)
			return entry;
	}
	return NULL;
}

/* A free place, or the one that was not seen for the longest time. */
static struct guard_entry *guard_add(struct guard *guard, const uint8_t address[16])
{
	struct guard_entry *oldest = &guard->entries[0];
	for (size_t i = 1; i < GUARD_ADDRESSES && oldest->seen_ms > 0; i++) {
		if (guard->entries[i].seen_ms < oldest->seen_ms)
			oldest = &guard->entries[i];
	}
	guard->count += oldest->seen_ms == 0;
	*oldest = (struct guard_entry){0};
	memcpy(oldest->address, address, 16);
	return oldest;
}

/* What an earlier wrong token cost; it is paid with this request. */
static int64_t take_delay(struct guard *guard, const uint8_t address[16])
{
	struct guard_entry *entry = guard_find(guard, address);
	if (!entry || !entry->is_owed)
		return 0;
	entry->is_owed = false;
	int64_t delay_ms = DELAY_FIRST_MS;
	for (unsigned i = 1; i < entry->failures && delay_ms < DELAY_MAX_MS; i++)
		delay_ms *= 2;
	return delay_ms < DELAY_MAX_MS ? delay_ms : DELAY_MAX_MS;
}

/* How many wrong tokens there were in a row. */
static unsigned note_wrong(struct guard *guard, const uint8_t address[16])
{
	int64_t now_ms = clock_monotonic_ms();
	struct guard_entry *entry = guard_find(guard, address);
	if (!entry)
		entry = guard_add(guard, address);
	if (entry->seen_ms > 0 && now_ms - entry->seen_ms > FORGIVE_MS)
		entry->failures = 0;
	entry->seen_ms = now_ms;
	entry->failures++;
	entry->is_owed = true;
	return entry->failures;
}

static void note_right(struct guard *guard, const uint8_t address[16])
{
	struct guard_entry *entry = guard_find(guard, address);
	if (!entry)
		return;
	*entry = (struct guard_entry){0};
	guard->count--;
}

/* ---- Tokens */

/* The token of the request, "" where there is none. */
static const char *read_token(const struct request *request)
{
	const char *token = request_header(request, "ts-auth-token");
	if (token && *token)
		return token;
	const char *authorization = request_header(request, MHD_HTTP_HEADER_AUTHORIZATION);
	if (!authorization || strncasecmp(authorization, "Bearer ", 7) != 0)
		return "";
	authorization += 7;
	return authorization + strspn(authorization, " ");
}

static int find_token(struct request *request, const char *text, struct error *err)
{
	uint8_t digest[SHA256_SIZE];
	size_t length = strlen(text);
	if (length > TOKEN_TEXT_MAX)
		return error_set(err, ERR_NOT_FOUND, "too long for a token");
	digest_sha256(text, length, digest);
	return store_token_find(request->service->store, digest, &request->token, err);
}

static void check_org(struct request *request)
{
	const char *org = request_header(request, "x-org-slug");
	if (!org || !*org)
		request_fail(request, MHD_HTTP_UNAUTHORIZED,
			     "no organisation: send the slug of the token's organisation as the "
			     "header x-org-slug");
	else if (strcmp(org, request->token.org) != 0)
		request_fail(request, MHD_HTTP_FORBIDDEN,
			     "this token does not belong to the organisation in x-org-slug: send "
			     "the slug that the token was created for (--org)");
}

static void check_role(struct request *request)
{
	if (request->token.role == request->route->role)
		return;
	const char *needed = role_name(request->route->role);
	request_fail(request, MHD_HTTP_FORBIDDEN,
		     "this call is for %ss, and this is the token of a%s %s: use one made with "
		     "`command-service token create --role %s`",
		     needed, request->token.role == ROLE_AGENT ? "n" : "",
		     role_name(request->token.role), needed);
}

/* Not each of them: who tries many must not fill the disk. */
static void log_wrong(const struct request *request, const uint8_t address[16], unsigned failures)
{
	char text[INET6_ADDRSTRLEN] = "";
	if ((failures & (failures - 1)) != 0)
		return;
	(void)inet_ntop(AF_INET6, address, text, sizeof text); /* always fits */
	struct log_field fields[] = {
	    LOG_TEXT("method", request->method),
	    LOG_TEXT("call", request->route->pattern),
	    LOG_TEXT("address", text),
	    LOG_NUMBER("times", failures),
	};
	log_event(LOG_LEVEL_INFO, "wrong token", fields, sizeof fields / sizeof *fields);
}

static void refuse_token(struct request *request, const uint8_t address[16])
{
	log_wrong(request, address, note_wrong(&request->service->guard, address));
	request_fail(request, MHD_HTTP_UNAUTHORIZED,
		     "this token is not known, or was revoked: `command-service token create` "
		     "makes a new one");
}

void auth_check(struct request *request)
{
	struct guard *guard = &request->service->guard;
	struct error err;
	uint8_t address[16];
	const char *text = read_token(request);
	read_address(request, address);
	request->delay_ms = take_delay(guard, address);
	if (*text == '\0') {
		request_fail(request, MHD_HTTP_UNAUTHORIZED,
			     "no token: send it as the header ts-auth-token, or as Authorization: "
			     "Bearer; `command-service token create` makes one");
		return;
	}
	int rc = find_token(request, text, &err);
	if (rc == ERR_NOT_FOUND) {
		refuse_token(request, address);
	} else if (rc < 0) {
		request_fail_store(request, &err);
	} else {
		note_right(guard, address);
		check_role(request);
		if (!request->response)
			check_org(request);
	}
}
