#include "crypto/base64.h"

#include <assert.h>
#include <endian.h>
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

/* Four tables, one for each place in a group of four letters: a letter's bits where they stand
 * in the group's 24, and a mark above them. The sum of four entries is the group's three bytes,
 * and its MARK_OF_FOUR is set when all four were letters: up to there nothing can carry, because
 * no two of them have a bit of the 24 in common. Both alphabets; everything else is 0. */
#define MARK         (UINT32_C(1) << 24)
#define MARK_OF_FOUR (4 * MARK)

#define ALL_LETTERS(at)                                                                     \
	at('A', 0), at('B', 1), at('C', 2), at('D', 3), at('E', 4), at('F', 5), at('G', 6), \
	    at('H', 7), at('I', 8), at('J', 9), at('K', 10), at('L', 11), at('M', 12),      \
	    at('N', 13), at('O', 14), at('P', 15), at('Q', 16), at('R', 17), at('S', 18),   \
	    at('T', 19), at('U', 20), at('V', 21), at('W', 22), at('X', 23), at('Y', 24),   \
	    at('Z', 25), at('a', 26), at('b', 27), at('c', 28), at('d', 29), at('e', 30),   \
	    at('f', 31), at('g', 32), at('h', 33), at('i', 34), at('j', 35), at('k', 36),   \
	    at('l', 37), at('m', 38), at('n', 39), at('o', 40), at('p', 41), at('q', 42),   \
	    at('r', 43), at('s', 44), at('t', 45), at('u', 46), at('v', 47), at('w', 48),   \
	    at('x', 49), at('y', 50), at('z', 51), at('0', 52), at('1', 53), at('2', 54),   \
	    at('3', 55), at('4', 56), at('5', 57), at('6', 58), at('7', 59), at('8', 60),   \
	    at('9', 61), at('+', 62), at('-', 62), at('/', 63), at('_', 63)

#define FIRST(letter, value)  [letter] = (MARK | (uint32_t)(value) << 18)
#define SECOND(letter, value) [letter] = (MARK | (uint32_t)(value) << 12)
#define THIRD(letter, value)  [letter] = (MARK | (uint32_t)(value) << 6)
#define FOURTH(letter, value) [letter] = (MARK | (uint32_t)(value))

static const uint32_t places[4][256] = {
    {ALL_LETTERS(FIRST)}, {ALL_LETTERS(SECOND)}, {ALL_LETTERS(THIRD)}, {ALL_LETTERS(FOURTH)}};

static uint32_t group(const unsigned char *in)
{
	return places[0][in[0]] + places[1][in[1]] + places[2][in[2]] + places[3][in[3]];
}

/* Where the first character stands that is no letter, if not before from. */
static int letter_error(const unsigned char *text, size_t from, size_t size, struct error *err)
{
	for (size_t i = from; i < size; i++) {
		if (places[0][text[i]] == 0)
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

/* Whole groups, *to moved behind their bytes; false when not all were letters. */
static bool decode_groups(const unsigned char *in, size_t count, uint8_t **to)
{
	uint32_t marks = MARK_OF_FOUR;
	uint8_t *at = *to;

	/* Two groups a step: eight bytes are written of which six count, so there must be room
	 * for two more. */
	for (; count >= 3; count -= 2, in += 8, at += 6) {
		uint32_t first = group(in), second = group(in + 4);
		uint64_t bytes = htobe64((uint64_t)first << 40 | (uint64_t)second << 40 >> 24);

		marks &= first & second;
		memcpy(at, &bytes, sizeof bytes);
	}
	for (; count > 0; count--, in += 4, at += 3) {
		uint32_t bytes = group(in);

		marks &= bytes;
		at[0] = (uint8_t)(bytes >> 16);
		at[1] = (uint8_t)(bytes >> 8);
		at[2] = (uint8_t)bytes;
	}
	*to = at;
	return marks != 0;
}

/* Two or three letters at the end, as if zeros followed; their unused bits must be 0. */
static bool decode_rest(const unsigned char *in, size_t count, uint8_t *to)
{
	unsigned char letters[4] = {'A', 'A', 'A', 'A'};
	uint32_t bytes;

	if (count == 0)
		return true;
	if (count == 1)
		return false;
	memcpy(letters, in, count);
	bytes = group(letters);
	to[0] = (uint8_t)(bytes >> 16);
	if (count == 3)
		to[1] = (uint8_t)(bytes >> 8);
	return (bytes & MARK_OF_FOUR) && (bytes & (count == 2 ? 0xFFFF : 0xFF)) == 0;
}

static size_t bytes_of(size_t letters)
{
	return letters / 4 * 3 + letters % 4 * 3 / 4;
}

size_t base64_decoded_size(const char *text, size_t size)
{
	return bytes_of(without_padding((const unsigned char *)text, size));
}

int base64_decode_piece(struct buf *out, const char *text, size_t size, size_t from, size_t count,
			struct error *err)
{
	const unsigned char *in = (const unsigned char *)text;
	size_t all = without_padding(in, size);
	size_t letters, bytes;
	uint8_t *to;

	assert(from % 4 == 0 && from <= size && count <= size - from);
	assert(count % 4 == 0 || from + count == size);
	letters = from + count < all ? count : from < all ? all - from : 0;
	bytes = bytes_of(letters);
	if (buf_reserve(out, bytes) < 0)
		return buf_check(out, "base64", err);
	to = (uint8_t *)out->data + out->size;
	if (!decode_groups(in + from, letters / 4, &to) ||
	    !decode_rest(in + from + letters / 4 * 4, letters % 4, to)) {
		buf_truncate(out, out->size); /* the NUL was overwritten */
		return letter_error(in, from, from + letters, err);
	}
	out->size += bytes;
	out->data[out->size] = '\0';
	return 0;
}

int base64_decode(struct buf *out, const char *text, size_t size, struct error *err)
{
	return base64_decode_piece(out, text, size, 0, size, err);
}
