#include "service/record.h"

#include "base/secret.h"
#include "service/jsonout.h"

#include <stdio.h>
#include <string.h>

static const char *delivery_name(enum command_delivery delivery)
{
	return delivery == DELIVERY_REFERENCED ? "referenced" : "embedded";
}

static void write_request_body(struct buf *out, const struct command *command,
			       const struct command_texts *texts)
{
	out_open(out, "requestBody", '{');
	out_span(out, "body", texts->payload);
	out_text(out, "action", command->action);
	out_text(out, "targetId", command->target);
	out_text(out, "commandId", command->id);
	out_time(out, "createdAt", command->created_ms);
	out_time(out, "expiresAt", command->expires_ms);
	out_close(out, '}');
}

static void write_url(struct buf *out, const char *key, const char *base_url, const char *path,
		      const char *id, const char *rest)
{
	struct buf url = BUF_INIT(4096);
	(void)buf_printf(&url, "%s%s%s%s", base_url, path, id, rest); /* bounded parts */
	out_text(out, key, buf_str(&url));
	buf_release(&url);
}

void record_write(struct buf *out, const struct command *command, const struct command_texts *texts,
		  const char *base_url)
{
	struct span none = {"{}", 2};
	out_open(out, NULL, '{');
	out_text(out, "id", command->id);
	out_text(out, "orgSlug", command->org);
	out_text(out, "targetId", command->target);
	out_text(out, "action", command->action);
	out_time(out, "expiresAt", command->expires_ms);
	out_span(out, "metadata", texts->metadata.text ? texts->metadata : none);
	out_text(out, "status", status_name(command->status));
	write_request_body(out, command, texts);
	out_span(out, "responseBody", texts->response);
	if (command->response == RESPONSE_FILE)
		write_url(out, "responseBodyUrl", base_url, "/v1/commands/", command->id,
			  "/response");
	out_text(out, "requestPayloadDelivery", delivery_name(command->delivery));
	out_text(out, "createdByEntity", "user");
	out_text(out, "createdBy", command->created_by);
	out_time(out, "createdAt", command->created_ms);
	out_time(out, "updatedAt", command->updated_ms);
	out_close(out, '}');
}

int record_append(struct buf *out, struct store *store, const struct command *command,
		  const char *base_url, struct error *err)
{
	struct command_texts texts;
	int rc = store_texts_begin(store, command->seq, &texts, err);
	if (rc < 0)
		return rc;
	record_write(out, command, &texts, base_url);
	store_texts_end(store);
	return 0;
}

/* ---- History */

/* Entries are no rows of their own: their ids follow from the command's, so that they are
 * the same at each look. */
static void entry_id(const struct command *command, size_t number, char id[UUID_TEXT_SIZE])
{
	char name[UUID_TEXT_SIZE + 24];
	uint8_t digest[SHA256_SIZE];
	char hex[SHA256_TEXT_SIZE];
	(void)snprintf(name, sizeof name, "%s/%zu", command->id, number);
	digest_sha256(name, strlen(name), digest);
	digest_to_hex(digest, hex);
	hex[12] = '8'; /* RFC 9562: a version of one's own */
	hex[16] = "89ab"[digest[8] & 3];
	(void)snprintf(id, UUID_TEXT_SIZE, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12,
		       hex + 16, hex + 20);
}

static void write_entry(struct buf *out, const struct command *command, size_t number,
			const char *reason, const char *updated_by, int64_t at_ms)
{
	char id[UUID_TEXT_SIZE];
	entry_id(command, number, id);
	out_open(out, NULL, '{');
	out_text(out, "id", id);
	out_text(out, "commandId", command->id);
	out_text(out, "reason", reason);
	out_text(out, "updatedBy", updated_by);
	out_time(out, "updatedAt", at_ms);
	out_close(out, '}');
}

static void describe(const struct command_change *change, struct buf *reason)
{
	const char *status = status_name((enum command_status)change->status);
	(void)buf_printf(reason, "Command status changed to %s", status);
	switch ((enum command_event)change->event) {
	case EVENT_DELIVERED:
		(void)buf_printf(reason, ": delivered, attempt %u", (unsigned)change->attempt);
		break;
	case EVENT_LEASE_ENDED:
		(void)buf_printf(reason, ": the lease of attempt %u ran out",
				 (unsigned)change->attempt);
		break;
	case EVENT_REPORTED:
		break;
	case EVENT_REPORTED_LATE:
		(void)buf_append_str(reason, ": reported after its lease had run out");
		break;
	case EVENT_EXPIRED_WAITING:
		(void)buf_append_str(reason, ": nobody took it before expiresAt");
		break;
	case EVENT_EXPIRED_LOST:
		(void)buf_append_str(reason,
				     ": the lease ran out after expiresAt, without an answer");
		break;
	case EVENT_ATTEMPTS_ENDED:
		(void)buf_printf(reason, ": no answer after %u attempts",
				 (unsigned)change->attempt);
		break;
	case EVENT_PURGED:
		(void)buf_append_str(reason, ": the queue was purged");
		break;
	}
}

static void write_change(struct buf *out, const struct command *command, size_t number,
			 const struct command_change *change)
{
	struct buf reason = BUF_INIT(256);
	bool is_of_target = change->event == EVENT_DELIVERED || change->event == EVENT_REPORTED ||
			    change->event == EVENT_REPORTED_LATE;
	describe(change, &reason);
	write_entry(out, command, number, buf_str(&reason), is_of_target ? "target" : "platform",
		    change->at_ms);
	buf_release(&reason);
}

void history_write(struct buf *out, const struct command *command)
{
	out_open(out, NULL, '{');
	out_text(out, "id", command->id);
	out_open(out, "history", '[');
	write_entry(out, command, 0, "Command created", command->created_by, command->created_ms);
	write_entry(out, command, 1, "Status update to PENDING", "platform", command->created_ms);
	for (size_t i = 0; i < command->change_count; i++)
		write_change(out, command, 2 + i, &command->changes[i]);
	out_close(out, ']');
	out_close(out, '}');
}

/* ---- Deliveries */

static const char hex_digits[] = "0123456789abcdef";

void receipt_write(const struct command *command, char text[RECEIPT_TEXT_SIZE])
{
	memcpy(text, command->id, UUID_TEXT_SIZE - 1);
	text += UUID_TEXT_SIZE - 1;
	*text++ = '.';
	for (size_t i = 0; i < RECEIPT_SIZE; i++) {
		*text++ = hex_digits[command->receipt[i] >> 4];
		*text++ = hex_digits[command->receipt[i] & 15];
	}
	*text = '\0';
}

int receipt_read(const char *text, char command_id[UUID_TEXT_SIZE], uint8_t receipt[RECEIPT_SIZE],
		 struct error *err)
{
	size_t length = strlen(text);
	const char *hex = text + UUID_TEXT_SIZE;
	if (length != RECEIPT_TEXT_SIZE - 1 || text[UUID_TEXT_SIZE - 1] != '.' ||
	    strspn(hex, hex_digits) != 2 * RECEIPT_SIZE)
		return error_set(err, ERR_INVALID, "is no receipt of this service");
	for (size_t i = 0; i < RECEIPT_SIZE; i++) {
		size_t high = (size_t)(strchr(hex_digits, hex[2 * i]) - hex_digits);
		size_t low = (size_t)(strchr(hex_digits, hex[2 * i + 1]) - hex_digits);
		receipt[i] = (uint8_t)(high << 4 | low);
	}
	memcpy(command_id, text, UUID_TEXT_SIZE - 1);
	command_id[UUID_TEXT_SIZE - 1] = '\0';
	return 0;
}

bool receipt_is(const struct command *command, const uint8_t receipt[RECEIPT_SIZE])
{
	struct secret stored = {(char *)(uintptr_t)command->receipt, RECEIPT_SIZE};
	return command->status == STATUS_PROCESSING && secret_equal(&stored, receipt, RECEIPT_SIZE);
}

void delivery_write(struct buf *out, const struct store *store, const struct command *command,
		    const struct command_texts *texts, const char *base_url)
{
	char key[1 + URL_KEY_TEXT_SIZE] = "/";
	char receipt[RECEIPT_TEXT_SIZE];
	receipt_write(command, receipt);
	out_open(out, NULL, '{');
	out_text(out, "commandId", command->id);
	out_text(out, "targetId", command->target);
	out_text(out, "action", command->action);
	out_time(out, "createdAt", command->created_ms);
	out_time(out, "expiresAt", command->expires_ms);
	out_text(out, "bodyDelivery", delivery_name(command->delivery));
	if (command->delivery == DELIVERY_REFERENCED) {
		store_url_key(store, command->id, URL_BODY, key + 1);
		write_url(out, "bodyUrl", base_url, "/v1/bodies/", command->id, key);
	} else {
		out_span(out, "body", texts->payload);
	}
	store_url_key(store, command->id, URL_UPLOAD, key + 1);
	write_url(out, "responseBodyUploadUrl", base_url, "/v1/uploads/", command->id, key);
	out_text(out, "receipt", receipt);
	out_number(out, "attempt", command->attempt);
	out_close(out, '}');
}
