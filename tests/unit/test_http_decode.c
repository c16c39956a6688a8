#include "agent/http_decode.h"
#include "base/buf.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>
#include <zlib.h>

/* Gives pieces of so many bytes. */
struct source {
	const char *bytes;
	size_t size;
	size_t piece;
	int fails_with; /* at the end */
};

static int give(void *context, void *out, size_t room, size_t *count, struct error *err)
{
	struct source *source = context;
	size_t most = source->piece < room ? source->piece : room;
	*count = source->size < most ? source->size : most;
	if (*count == 0 && source->fails_with != 0)
		return error_set(err, source->fails_with, "the source failed");
	memcpy(out, source->bytes, *count);
	source->bytes += *count;
	source->size -= *count;
	return 0;
}

/* windowBits as zlib has it: 31 gzip, 15 zlib, -15 raw. */
static void compress_bytes(struct buf *out, const void *bytes, size_t size, int window_bits)
{
	z_stream zlib = {0};
	cr_assert_eq(deflateInit2(&zlib, 9, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
	cr_assert_eq(buf_reserve(out, 1000), 0);
	zlib.next_in = (unsigned char *)bytes;
	zlib.avail_in = (unsigned)size;
	zlib.next_out = (unsigned char *)out->data + out->size;
	zlib.avail_out = 1000;
	cr_assert_eq(deflate(&zlib, Z_FINISH), Z_STREAM_END);
	out->size += zlib.total_out;
	deflateEnd(&zlib);
}

static void compress_to(struct buf *out, const char *text, int window_bits)
{
	compress_bytes(out, text, strlen(text), window_bits);
}

static int decode_from(struct source *source, const char *encodings, struct buf *out)
{
	struct error err;
	struct http_decoder *decoder = http_decoder_new(encodings, SIZE_MAX, give, source);
	const void *bytes;
	size_t count;
	int rc;
	cr_assert_not_null(decoder);
	while ((rc = http_decoder_step(decoder, &bytes, &count, &err)) == 1) {
		cr_assert_leq(count, 16 * 1024);
		if (count > 0)
			cr_assert_eq(buf_append(out, bytes, count), 0);
	}
	cr_assert_eq(count, 0);
	http_decoder_free(decoder);
	return rc;
}

/* Decodes in pieces of so many bytes; 0 or the first failure. */
static int decode(const char *encodings, const struct buf *in, size_t piece, struct buf *out)
{
	struct source source = {.bytes = in->data, .size = in->size, .piece = piece};
	return decode_from(&source, encodings, out);
}

static void assert_decodes(const char *encodings, const struct buf *in, const char *text)
{
	for (size_t piece = 1; piece <= in->size + 1; piece++) {
		struct buf out = BUF_INIT(100000);
		cr_assert_eq(decode(encodings, in, piece, &out), 0, "in pieces of %zu", piece);
		cr_assert_str_eq(buf_str(&out), text);
		buf_release(&out);
	}
}

Test(http_decode, gzip_comes_off_in_any_pieces)
{
	struct buf in = BUF_INIT(100000);
	compress_to(&in, "hello, hello, hello", 31);
	assert_decodes("gzip", &in, "hello, hello, hello");
	assert_decodes("identity, X-GZIP", &in, "hello, hello, hello");
	buf_release(&in);
}

Test(http_decode, members_of_gzip_follow_each_other)
{
	struct buf in = BUF_INIT(100000);
	compress_to(&in, "one ", 31);
	compress_to(&in, "two", 31);
	assert_decodes("gzip", &in, "one two");
	buf_release(&in);
}

Test(http_decode, deflate_is_taken_with_and_without_its_header)
{
	struct buf in = BUF_INIT(100000);
	compress_to(&in, "deflated", 15);
	assert_decodes("deflate", &in, "deflated");
	buf_reset(&in);
	compress_to(&in, "raw and deflated", -15);
	assert_decodes("deflate", &in, "raw and deflated");
	buf_reset(&in);
	compress_to(&in, "", -15);
	assert_decodes("deflate", &in, "");
	buf_release(&in);
}

Test(http_decode, encodings_on_top_of_each_other_come_off_in_turn)
{
	struct buf inner = BUF_INIT(100000);
	struct buf in = BUF_INIT(100000);
	compress_to(&inner, "twice", 15);
	compress_bytes(&in, inner.data, inner.size, 31);
	assert_decodes("deflate, gzip", &in, "twice");
	buf_release(&inner);
	buf_release(&in);
}

Test(http_decode, a_stream_that_ends_early_is_broken)
{
	struct buf in = BUF_INIT(100000);
	compress_to(&in, "hello, hello, hello", 31);
	for (size_t size = 1; size < in.size; size++) {
		struct buf cut = {.data = in.data, .size = size, .capacity = size, .max = size};
		struct buf out = BUF_INIT(100000);
		cr_assert_eq(decode("gzip", &cut, 5, &out), ERR_SYNTAX, "cut to %zu", size);
		buf_release(&out);
	}
	buf_release(&in);
}

Test(http_decode, bytes_that_are_something_else_are_broken)
{
	static const char *const encodings[] = {"gzip", "deflate", "br", "zstd"};
	struct buf in = BUF_INIT(1000);
	buf_append_str(&in, "\xff\xfe this is plain text, not compressed at all");
	for (size_t i = 0; i < 4; i++) {
		struct buf out = BUF_INIT(100000);
		cr_assert_eq(decode(encodings[i], &in, 7, &out), ERR_SYNTAX, "%s", encodings[i]);
		buf_release(&out);
	}
	buf_release(&in);
}

Test(http_decode, what_stands_behind_the_end_is_ignored)
{
	struct buf in = BUF_INIT(100000);
	for (int window_bits = 15; window_bits <= 31; window_bits += 16) {
		buf_reset(&in);
		compress_to(&in, "whole", window_bits);
		buf_append_str(&in, "and no content");
		assert_decodes(window_bits == 15 ? "deflate" : "gzip", &in, "whole");
	}
	buf_release(&in);
}

/* What it gives at a time is bounded (decode_from), and so is what it takes. */
Test(http_decode, a_few_bytes_that_are_many_come_out_a_little_at_a_time)
{
	/* A stream of 64 MiB of zeros, then that once more. */
	static unsigned char zeros[1 << 20];
	struct buf inner = BUF_INIT(1 << 20), in = BUF_INIT(100000);
	z_stream zlib = {0};
	cr_assert_eq(deflateInit2(&zlib, 9, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
	cr_assert_eq(buf_reserve(&inner, 100000), 0);
	zlib.next_out = (unsigned char *)inner.data;
	zlib.avail_out = 100000;
	for (int i = 0; i < 64; i++) {
		zlib.next_in = zeros;
		zlib.avail_in = sizeof zeros;
		cr_assert_eq(deflate(&zlib, i == 63 ? Z_FINISH : Z_NO_FLUSH),
			     i == 63 ? Z_STREAM_END : Z_OK);
	}
	inner.size = zlib.total_out;
	deflateEnd(&zlib);
	compress_bytes(&in, inner.data, inner.size, 31);
	struct buf out = BUF_INIT(100 << 20);
	cr_assert_eq(decode("gzip, gzip", &in, 1000, &out), 0);
	cr_assert_eq(out.size, 64 << 20);
	buf_release(&out);
	buf_release(&inner);
	buf_release(&in);
}

Test(http_decode, a_source_that_fails_ends_it)
{
	struct buf in = BUF_INIT(100000), out = BUF_INIT(100000);
	compress_to(&in, "hello", 31);
	struct source source = {
	    .bytes = in.data, .size = in.size - 1, .piece = 5, .fails_with = ERR_SYSTEM};
	cr_assert_eq(decode_from(&source, "gzip", &out), ERR_SYSTEM);
	buf_release(&out);
	buf_release(&in);
}

Test(http_decode, what_is_not_known_is_left_alone)
{
	cr_assert_null(http_decoder_new("aws-chunked", SIZE_MAX, give, NULL));
	cr_assert_null(http_decoder_new("gzip, foo", SIZE_MAX, give, NULL));
	cr_assert_null(http_decoder_new("identity", SIZE_MAX, give, NULL));
	cr_assert_null(http_decoder_new("", SIZE_MAX, give, NULL));
	cr_assert_null(http_decoder_new("gzip,gzip,gzip,gzip,gzip", SIZE_MAX, give, NULL));
}
