#include "crypto/base64.h"

#include <openssl/evp.h>
#include <stdint.h>
#include <string.h>

/* A multiple of 3 that EVP_EncodeBlock, which counts in int, takes in one go. */
enum { ENCODE_BYTES = 3 << 20 };

int base64_encode(struct buf *out, const void *bytes, size_t size)
{
	const unsigned char *at = bytes;

	/* One reservation: BASE64_SIZE cannot wrap below this size. */
	if (size > SIZE_MAX / 2)
		return out->failed ? out->failed : (out->failed = ERR_LIMIT);
	if (buf_reserve(out, BASE64_SIZE(size)) < 0)
		return out->failed;
	while (size > 0) {
		size_t count = size > ENCODE_BYTES ? ENCODE_BYTES : size;

		/* Writes a NUL behind, for which a buf has room. */
		out->size +=
		    (size_t)EVP_EncodeBlock((unsigned char *)out->data + out->size, at, (int)count);
		at += count;
		size -= count;
	}
	return 0;
}

#define BAD 0xFF

/* The value of each letter, both alphabets; everything else is BAD, which has bits that
 * no value has. */
struct alphabet {
	uint8_t values[256];
};

static struct alphabet make_alphabet(void)
{
	struct alphabet alphabet;

	memset(alphabet.values, BAD, sizeof alphabet.values);
	for (uint8_t i = 0; i < 26; i++) {
		alphabet.values['A' + i] = i;
		alphabet.values['a' + i] = (uint8_t)(26 + i);
	}
	for (uint8_t i = 0; i < 10; i++)
		alphabet.values['0' + i] = (uint8_t)(52 + i);
	alphabet.values['+'] = alphabet.values['-'] = 62;
	alphabet.values['/'] = alphabet.values['_'] = 63;
	return alphabet;
}

/* Where the first character stands that is no letter. */
static int letter_error(const uint8_t *values, const unsigned char *text, size_t size,
			struct error *err)
{
	for (size_t i = 0; i < size; i++) {
		if (values[text[i]] == BAD)
			return error_set(err, ERR_SYNTAX, "not base64 at character %zu", i + 1);
	}
	return error_set(err, ERR_SYNTAX, "not base64: its last letters are no whole bytes");
}

/* Padding makes the size a multiple of four or is left out whole. */
static size_t without_padding(const unsigned char *text, size_t size)
{
	if (size == 0 || size % 4 != 0 || text[size - 1] != '=')
		return size;
	return text[size - 2] == '=' ? size - 2 : size - 1;
}

/* Two or three letters at the end; their unused bits must be 0. */
static bool decode_rest(const uint8_t *values, const unsigned char *in, size_t count, uint8_t *to)
{
	uint32_t a, b, c;

	if (count == 0)
		return true;
	if (count == 1)
		return false;
	a = values[in[0]];
	b = values[in[1]];
	c = count == 3 ? values[in[2]] : 0;
	if ((a | b | c) & 0xC0)
		return false;
	to[0] = (uint8_t)(a << 2 | b >> 4);
	if (count == 2)
		return (b & 0x0F) == 0;
	to[1] = (uint8_t)(b << 4 | c >> 2);
	return (c & 0x03) == 0;
}

int base64_decode(struct buf *out, const char *text, size_t size, struct error *err)
{
	const struct alphabet alphabet = make_alphabet();
	const uint8_t *values = alphabet.values;
	const unsigned char *in = (const unsigned char *)text;
	size_t letters = without_padding(in, size);
	size_t bytes = letters / 4 * 3 + letters % 4 * 3 / 4;
	uint32_t seen = 0;
	uint8_t *to;

	if (buf_reserve(out, bytes) < 0)
		return buf_check(out, "base64", err);
	to = (uint8_t *)out->data + out->size;
	for (size_t i = 0; i + 4 <= letters; i += 4, to += 3) {
		uint32_t a = values[in[i]], b = values[in[i + 1]], c = values[in[i + 2]],
			 d = values[in[i + 3]];

		seen |= a | b | c | d;
		to[0] = (uint8_t)(a << 2 | b >> 4);
		to[1] = (uint8_t)(b << 4 | c >> 2);
		to[2] = (uint8_t)(c << 6 | d);
	}
	if ((seen & 0xC0) || !decode_rest(values, in + letters / 4 * 4, letters % 4, to)) {
		buf_truncate(out, out->size); /* the NUL was overwritten */
		return letter_error(values, in, letters, err);
	}
	out->size += bytes;
	out->data[out->size] = '\0';
	return 0;
}
