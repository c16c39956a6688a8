#include "base/clock.h"
#include "base/mem.h"
#include "service/calls.h"
#include "service/record.h"
#include "service/routes.h"
#include "service/service.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
	METADATA_PAIRS_MAX = 100,
	METADATA_BYTES_MAX = 64 * 1024,
	KEY_MAX = 255,
};

/* Members of the request. */
enum member { TARGET, ACTION, EXPIRY, PAYLOAD, DELIVERY, METADATA, MEMBER_COUNT };
static const char *const member_names[] = {
    [TARGET] = "targetId", [ACTION] = "action",     [EXPIRY] = "expiresAt",
    [PAYLOAD] = "payload", [METADATA] = "metadata", [DELIVERY] = "payloadDelivery",
    [MEMBER_COUNT] = NULL,
};

/* A new command, from its JSON to its row. */
struct creating {
	struct request *request;
	struct span members[MEMBER_COUNT];
	struct command command;
	struct command_new parts;
	struct metadata_pair pairs[METADATA_PAIRS_MAX];
	uint8_t key_digest[SHA256_SIZE];
	struct problems problems;
};

static void read_name(struct creating *creating, enum member member, char *text, size_t size)
{
	struct error err;
	const char *key = member_names[member];
	struct span value = creating->members[member];
	if (!value.text)
		problems_add(&creating->problems, "%s is missing", key);
	else if (span_text(value, text, size, &err) < 0)
		problems_add(&creating->problems, "%s %s", key, err.message);
	else if (*text == '\0')
		problems_add(&creating->problems, "%s must not be empty", key);
}

static void read_expiry(struct creating *creating)
{
	char text[64] = "";
	char now[CLOCK_TEXT_SIZE];
	struct error err;
	size_t problems = creating->problems.count;
	int64_t now_ms = clock_now_ms();
	int64_t ttl_seconds = creating->request->service->settings->min_ttl_seconds;
	read_name(creating, EXPIRY, text, sizeof text);
	if (creating->problems.count > problems)
		return;
	if (clock_parse(text, &creating->command.expires_ms, &err) < 0) {
		problems_add(&creating->problems, "expiresAt: %s", err.message);
		return;
	}
	clock_format(now_ms, now);
	if (creating->command.expires_ms < now_ms + ttl_seconds * 1000)
		problems_add(&creating->problems,
			     "expiresAt must be at least %" PRId64
			     " seconds ahead (it is %s here now)",
			     ttl_seconds, now);
}

static void read_payload(struct creating *creating)
{
	struct span payload = creating->members[PAYLOAD];
	if (!payload.text)
		problems_add(&creating->problems, "payload is missing");
	else if (span_depth(payload) > PAYLOAD_DEPTH_MAX)
		problems_add(&creating->problems, "payload is nested deeper than %d levels",
			     PAYLOAD_DEPTH_MAX);
	creating->parts.payload = payload;
}

static void read_delivery(struct creating *creating)
{
	char text[16] = "embedded";
	struct span value = creating->members[DELIVERY];
	bool is_text = span_is_null(value) || span_text(value, text, sizeof text, NULL) == 0;
	if (is_text && strcmp(text, "referenced") == 0)
		creating->command.delivery = DELIVERY_REFERENCED;
	else if (!is_text || strcmp(text, "embedded") != 0)
		problems_add(&creating->problems,
			     "payloadDelivery must be \"embedded\" or \"referenced\"");
}

/* ---- Metadata */

static void add_pair(struct creating *creating, struct span key, struct span value)
{
	struct buf name = BUF_INIT(METADATA_BYTES_MAX);
	struct buf text = BUF_INIT(METADATA_BYTES_MAX);
	size_t count = creating->parts.pair_count;
	if (metadata_texts(key, value, &name, &text, NULL) < 0 ||
	    memchr(buf_str(&name), '\0', name.size) || memchr(buf_str(&text), '\0', text.size))
		problems_add(&creating->problems, "metadata must not hold NUL characters");
	else if (span_is_object(value) || span_is_array(value) || span_is_null(value))
		problems_add(&creating->problems, "metadata.%s must be a string, not %s",
			     buf_str(&name), span_kind(value));
	else if (count == METADATA_PAIRS_MAX)
		problems_add(&creating->problems, "metadata has more than %d members",
			     METADATA_PAIRS_MAX);
	else
		creating->pairs[creating->parts.pair_count++] =
		    (struct metadata_pair){mem_strdup(buf_str(&name)), mem_strdup(buf_str(&text))};
	buf_release(&name);
	buf_release(&text);
}

static void read_metadata(struct creating *creating)
{
	struct span key, value;
	struct span metadata = creating->members[METADATA];
	size_t problems = creating->problems.count;
	if (span_is_null(metadata))
		return;
	if (!span_is_object(metadata))
		problems_add(&creating->problems,
			     "metadata must be an object of strings, of at most %d bytes, not %s",
			     METADATA_BYTES_MAX, span_kind(metadata));
	else if (metadata.size > METADATA_BYTES_MAX)
		problems_add(&creating->problems,
			     "metadata must have at most %d bytes, as JSON, not %zu",
			     METADATA_BYTES_MAX, metadata.size);
	if (creating->problems.count > problems)
		return;
	struct span_cursor cursor = span_begin(metadata);
	while (creating->problems.count < problems + 3 && span_next(&cursor, &key, &value))
		add_pair(creating, key, value);
	creating->parts.metadata = metadata;
	creating->parts.pairs = creating->pairs;
}

/* ---- Idempotency-Key */

/* What the key stands for. Not expiresAt: who tries again may ask for a later end. */
static void digest_request(struct creating *creating)
{
	struct buf text = BUF_INIT(SIZE_MAX / 2);
	const struct command *command = &creating->command;
	(void)buf_append(&text, command->target, strlen(command->target) + 1);
	(void)buf_append(&text, command->action, strlen(command->action) + 1);
	(void)buf_append_char(&text, command->delivery == DELIVERY_REFERENCED ? 'r' : 'e');
	(void)buf_append(&text, creating->parts.payload.text, creating->parts.payload.size);
	(void)buf_append_char(&text, '\0');
	if (creating->parts.metadata.text)
		(void)buf_append(&text, creating->parts.metadata.text,
				 creating->parts.metadata.size);
	/* Out of memory the digest is that of a part: the key is refused later, at worst. */
	digest_sha256(buf_str(&text), text.size, creating->key_digest);
	buf_release(&text);
	creating->parts.key_digest = creating->key_digest;
}

static void read_key(struct creating *creating)
{
	const char *key = request_header(creating->request, "Idempotency-Key");
	if (!key)
		return;
	if (*key == '\0' || strlen(key) > KEY_MAX)
		problems_add(&creating->problems, "the Idempotency-Key must have 1 to %d bytes",
			     KEY_MAX);
	creating->parts.key = key;
}

static int read_all(struct creating *creating)
{
	struct span object;
	struct command *command = &creating->command;
	if (call_object(creating->request, &object) < 0)
		return ERR_INVALID;
	span_members(object, member_names, creating->members);
	read_name(creating, TARGET, command->target, sizeof command->target);
	read_name(creating, ACTION, command->action, sizeof command->action);
	read_expiry(creating);
	read_payload(creating);
	read_delivery(creating);
	read_metadata(creating);
	read_key(creating);
	return call_check(creating->request, &creating->problems);
}

/* ---- Answers */

static void answer(struct creating *creating, const struct command *command, bool is_stored)
{
	struct request *request = creating->request;
	struct command_texts texts = {
	    .payload = creating->parts.payload,
	    .metadata = creating->parts.metadata,
	};
	struct buf base_url = BUF_INIT(2048);
	struct buf out = BUF_INIT(is_stored ? request_room(request, SIZE_MAX / 2) : SIZE_MAX / 2);
	struct error err;
	int rc = 0;
	if (request_base_url(request, &base_url, NULL) < 0)
		buf_reset(&base_url); /* then its URLs are relative */
	if (is_stored)
		rc =
		    record_append(&out, request->service->store, command, buf_str(&base_url), &err);
	else
		record_write(&out, command, &texts, buf_str(&base_url));
	if (rc < 0)
		request_fail_store(request, &err);
	else if (is_stored && out.failed == ERR_LIMIT)
		request_fail_room(request);
	else
		request_answer(request, MHD_HTTP_OK, &out);
	buf_release(&base_url);
	buf_release(&out);
}

/* The command that the key stands for already: 1; none: 0. */
static int find_earlier(struct creating *creating, struct error *err)
{
	struct store *store = creating->request->service->store;
	struct command earlier;
	uint8_t digest[SHA256_SIZE];
	int64_t seq = 0;
	if (!creating->parts.key)
		return 0;
	digest_request(creating);
	int rc = store_key_find(store, creating->command.org, creating->parts.key, clock_now_ms(),
				&seq, digest, err);
	if (rc == 0)
		rc = store_command_get(store, seq, &earlier, err);
	if (rc < 0)
		return rc == ERR_NOT_FOUND ? 0 : rc;
	if (memcmp(digest, creating->key_digest, SHA256_SIZE) == 0)
		answer(creating, &earlier, true);
	else
		request_fail(creating->request, MHD_HTTP_UNPROCESSABLE_CONTENT,
			     "this Idempotency-Key was used within 24 hours for another command "
			     "(%s): use a new key for a new command",
			     earlier.id);
	return 1;
}

static void create(struct creating *creating)
{
	struct request *request = creating->request;
	struct command *command = &creating->command;
	struct error err;
	int rc = find_earlier(creating, &err);
	if (rc > 0)
		return;
	/* The answer repeats it, and once it is stored it must be told so. */
	if (rc == 0 && request->body.size > request_room(request, SIZE_MAX)) {
		request_fail_room(request);
		return;
	}
	if (rc == 0)
		rc = store_command_add(request->service->store, command, &creating->parts, &err);
	if (rc < 0) {
		request_fail_store(request, &err);
		return;
	}
	service_note_due(request->service, command->expires_ms);
	answer(creating, command, false);
}

void on_command_post(struct request *request)
{
	struct creating *creating = mem_new(struct creating);
	const struct token *token = &request->token;
	creating->request = request;
	memcpy(creating->command.org, token->org, sizeof token->org);
	memcpy(creating->command.created_by, token->id, sizeof token->id);
	creating->command.creator = token->number;
	if (read_all(creating) == 0)
		create(creating);
	for (size_t i = 0; i < creating->parts.pair_count; i++) {
		free((char *)(uintptr_t)creating->pairs[i].key);
		free((char *)(uintptr_t)creating->pairs[i].value);
	}
	problems_release(&creating->problems);
	free(creating);
}
