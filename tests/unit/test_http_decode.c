#include "agent/http_decode.h"
#include "base/buf.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>
#include <zlib.h>

struct collected {
	struct buf bytes;
	size_t limit;
};

static int collect(void *context, const void *bytes, size_t size)
{
	struct collected *collected = context;
	if (collected->bytes.size + size > collected->limit)
		return ERR_LIMIT;
	return buf_append(&collected->bytes, bytes, size);
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

/* Decodes in pieces of so many bytes; 0 or the first failure. */
static int decode(const char *encodings, const struct buf *in, size_t piece, struct collected *out)
{
	struct error err;
	struct http_decoder *decoder = http_decoder_new(encodings, SIZE_MAX, collect, out);
	int rc = 0;
	cr_assert_not_null(decoder);
	for (size_t at = 0; rc == 0 && at < in->size; at += piece)
		rc = http_decoder_write(decoder, in->data + at,
					in->size - at < piece ? in->size - at : piece, &err);
	if (rc == 0)
		rc = http_decoder_finish(decoder, &err);
	http_decoder_free(decoder);
	return rc;
}

static void assert_decodes(const char *encodings, const struct buf *in, const char *text)
{
	for (size_t piece = 2; piece <= in->size + 1; piece++) {
		struct collected out = {BUF_INIT(100000), 100000};
		cr_assert_eq(decode(encodings, in, piece, &out), 0, "in pieces of %zu", piece);
		cr_assert_str_eq(buf_str(&out.bytes), text);
		buf_release(&out.bytes);
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
	struct collected out = {BUF_INIT(100000), 100000};
	cr_assert_eq(decode("deflate", &in, 1000, &out), 0);
	cr_assert_str_eq(buf_str(&out.bytes), "raw and deflated");
	buf_release(&out.bytes);
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
		struct collected out = {BUF_INIT(100000), 100000};
		cr_assert_eq(decode("gzip", &cut, 5, &out), ERR_SYNTAX, "cut to %zu", size);
		buf_release(&out.bytes);
	}
	buf_release(&in);
}

Test(http_decode, bytes_that_are_something_else_are_broken)
{
	static const char *const encodings[] = {"gzip", "deflate", "br", "zstd"};
	struct buf in = BUF_INIT(1000);
	buf_append_str(&in, "\xff\xfe this is plain text, not compressed at all");
	for (size_t i = 0; i < 4; i++) {
		struct collected out = {BUF_INIT(100000), 100000};
		cr_assert_eq(decode(encodings[i], &in, 7, &out), ERR_SYNTAX, "%s", encodings[i]);
		buf_release(&out.bytes);
	}
	buf_release(&in);
}

Test(http_decode, what_the_reader_refuses_ends_it)
{
	struct buf in = BUF_INIT(100000);
	struct collected out = {BUF_INIT(100000), 5};
	compress_to(&in, "more than five bytes", 31);
	cr_assert_eq(decode("gzip", &in, 1000, &out), ERR_LIMIT);
	cr_assert_eq(out.bytes.size, 0);
	buf_release(&in);
}

Test(http_decode, what_is_not_known_is_left_alone)
{
	cr_assert_null(http_decoder_new("aws-chunked", SIZE_MAX, collect, NULL));
	cr_assert_null(http_decoder_new("gzip, foo", SIZE_MAX, collect, NULL));
	cr_assert_null(http_decoder_new("identity", SIZE_MAX, collect, NULL));
	cr_assert_null(http_decoder_new("", SIZE_MAX, collect, NULL));
	cr_assert_null(http_decoder_new("gzip,gzip,gzip,gzip,gzip", SIZE_MAX, collect, NULL));
}
