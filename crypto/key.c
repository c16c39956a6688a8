#include "crypto/key.h"

#include "crypto/base64.h"
#include "crypto/random.h"

#include <string.h>

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static int parse_hex(const char *text, uint8_t bytes[KEY_SIZE], struct error *err)
{
	for (size_t i = 0; i < KEY_SIZE; i++) {
		int high = hex_value(text[2 * i]), low = hex_value(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return error_set(err, ERR_INVALID,
					 "key: 64 characters must be hexadecimal digits");
		bytes[i] = (uint8_t)(high << 4 | low);
	}
	return 0;
}

static int parse_base64(const char *text, size_t size, uint8_t bytes[KEY_SIZE], struct error *err)
{
	struct buf decoded = BUF_INIT(KEY_SIZE + 1);
	int code = 0;

	if (base64_decode(&decoded, text, size, NULL) < 0 || decoded.size != KEY_SIZE)
		code = error_set(err, ERR_INVALID, "key: %zu characters must be base64 of 32 bytes",
				 size);
	else
		memcpy(bytes, decoded.data, KEY_SIZE);
	buf_wipe(&decoded);
	return code;
}

int key_parse(const char *text, size_t size, struct key *key, struct error *err)
{
	uint8_t bytes[KEY_SIZE];
	int code = 0;

	if (size == KEY_SIZE)
		memcpy(bytes, text, KEY_SIZE);
	else if (size == 2 * (size_t)KEY_SIZE)
		code = parse_hex(text, bytes, err);
	else if (size == 43 || size == 44)
		code = parse_base64(text, size, bytes, err);
	else
		code = error_set(err, ERR_INVALID,
				 "key: has %zu characters; must be 32 characters, 64 hexadecimal "
				 "digits or base64 of 32 bytes (43 or 44 characters)",
				 size);
	if (code == 0)
		secret_set(&key->bytes, bytes, KEY_SIZE);
	secret_wipe(bytes, sizeof bytes);
	return code;
}

void key_release(struct key *key)
{
	secret_release(&key->bytes);
}

int key_generate(struct buf *out, struct error *err)
{
	static const char digits[] = "0123456789abcdef";
	uint8_t bytes[KEY_SIZE];
	char text[2 * KEY_SIZE];

	random_bytes(bytes, sizeof bytes);
	for (size_t i = 0; i < KEY_SIZE; i++) {
		text[2 * i] = digits[bytes[i] >> 4];
		text[2 * i + 1] = digits[bytes[i] & 15];
	}
	(void)buf_append(out, text, sizeof text); /* asked below */
	secret_wipe(bytes, sizeof bytes);
	secret_wipe(text, sizeof text);
	return buf_check(out, "key", err);
}
