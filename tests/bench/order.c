#include "tests/bench/order.h"

#include "base/json.h"
#include "crypto/aead.h"
#include "crypto/envelope.h"
#include "crypto/key.h"
#include "tests/bench/say.h"

#include <stdlib.h>
#include <string.h>

enum {
	TEXT_MAX = 64 * 1024 * 1024,
	DIGITS = 12, /* of the number at an id's end */
};

static const char ID_PREFIX[] = "0b5e11ed-0000-7000-8000-";
static const char ID_KEY[] = "{\"commandId\":\"";

void order_body(size_t size, struct buf *out)
{
	size_t wanted = out->size + size;
	for (int i = 1000; out->size < wanted; i++)
		buf_printf(out, "{\"sample\": \"S-%d\", \"value\": %d.25, \"unit\": \"mg/l\"},\n",
			   i, i % 777);
	if (out->failed != 0)
		die("a body of %zu bytes is too large", size);
	buf_truncate(out, wanted);
}

static void plain_payload(const struct order *order, struct buf *out)
{
	struct json_object *payload = json_new_object();
	struct json_object *headers = json_new_object();
	json_set_text(payload, "method", order->body_bytes > 0 ? "POST" : "GET");
	json_set_text(payload, "url", order->url);
	json_set_text(headers, "accept", "application/json");
	if (order->body_bytes > 0)
		json_set_text(headers, "content-type", "application/json");
	json_set(payload, "headers", headers);
	if (order->body_bytes > 0) {
		struct buf raw = BUF_INIT(TEXT_MAX);
		struct json_object *body = json_new_object();
		order_body(order->body_bytes, &raw);
		json_set_text(body, "mode", "raw");
		json_set(body, "raw", json_new_string(raw.data, raw.size));
		json_set(payload, "body", body);
		buf_release(&raw);
	}
	json_write(out, payload);
	json_object_put(payload);
}

void order_payload(const struct order *order, struct buf *out)
{
	struct buf plain = BUF_INIT(TEXT_MAX);
	struct key key = {0};
	struct error err;
	if (order->key == NULL) {
		plain_payload(order, out);
		return;
	}
	plain_payload(order, &plain);
	if (key_parse(order->key, strlen(order->key), &key, &err) != 0)
		die("%s", err.message);
	struct aead *aead = aead_new(&key);
	if (envelope_seal(aead, plain.data, plain.size, out, &err) != 0)
		die("%s", err.message);
	aead_free(aead);
	key_release(&key);
	buf_release(&plain);
}

/* The fields in the order and the sizes of command-service's. */
void order_make(struct order *order)
{
	static const char RECEIPT[] = "01998b3a5d2e4f0c8d7e6f5a4b3c2d1e0f9e8d7c6b5a4938";
	static const char NO_ID[] = "00000000-0000-0000-0000-000000000000";
	struct buf payload = BUF_INIT(TEXT_MAX);
	struct buf url = BUF_INIT(1024);
	struct json_object *command = json_new_object();
	order_payload(order, &payload);
	buf_printf(&url, "%s/v1/uploads/%s/%s", order->base_url, NO_ID, RECEIPT);
	json_set_text(command, "commandId", NO_ID);
	json_set_text(command, "targetId", "bench-agent");
	json_set_text(command, "action",
		      order->key != NULL ? "TetraScience.Connector.http.Request.V2"
					 : "TetraScience.Connector.http.Request");
	json_set_text(command, "createdAt", "2026-11-21T04:00:16.123Z");
	json_set_text(command, "expiresAt", "2099-11-21T04:00:16.123Z");
	json_set_text(command, "bodyDelivery", "embedded");
	json_set(command, "body", json_new_raw(payload.data, payload.size));
	json_set_text(command, "responseBodyUploadUrl", buf_str(&url));
	json_set_text(command, "receipt", RECEIPT);
	json_set_int64(command, "attempt", 1);
	order->text = BUF_INIT(TEXT_MAX);
	json_write(&order->text, command);
	if (order->text.failed != 0 || memcmp(order->text.data, ID_KEY, sizeof ID_KEY - 1) != 0)
		die("a command could not be made");
	json_object_put(command);
	buf_release(&payload);
	buf_release(&url);
}

void order_release(struct order *order)
{
	buf_release(&order->text);
}

void order_write(const struct order *order, size_t number, struct buf *out)
{
	static const char HEX[] = "0123456789abcdef";
	size_t at = out->size + sizeof ID_KEY - 1;
	if (buf_append(out, order->text.data, order->text.size) != 0)
		die("commands of more than %zu bytes in one answer", out->max);
	memcpy(out->data + at, ID_PREFIX, sizeof ID_PREFIX - 1);
	at += sizeof ID_PREFIX - 1;
	for (size_t i = DIGITS; i-- > 0; number /= 16)
		out->data[at + i] = HEX[number % 16];
}

size_t order_number(const char *id)
{
	char digits[DIGITS + 1];
	if (strncmp(id, ID_PREFIX, sizeof ID_PREFIX - 1) != 0)
		return SIZE_MAX;
	memcpy(digits, id + sizeof ID_PREFIX - 1, DIGITS);
	digits[DIGITS] = '\0';
	return (size_t)strtoull(digits, NULL, 16);
}
