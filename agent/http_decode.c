#include "agent/http_decode.h"

#include "base/mem.h"
#include "base/str.h"

#include <brotli/decode.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#define ZLIB_CONST /* input is not ours to change */
#include <zlib.h>
#include <zstd.h>

enum {
	STAGES_MAX = 4, /* encodings on top of each other */
	PIECE_BYTES = 16 * 1024,
	ZLIB_HEADER_BYTES = 2,
	GZIP_WINDOW = 16 + MAX_WBITS, /* as zlib wants it said */
	ZSTD_WINDOW_LOG_MAX = 23,     /* 8 MiB, what RFC 8878 asks decoders to support */
};

struct stage;

struct encoding {
	const char *name;
	const char *other_name; /* NULL: it has only one */
	/* One call of its library: takes from `in`, fills `out`. */
	int (*run)(struct stage *stage, struct error *err);
	void (*close)(struct stage *stage);
};

/* One encoding. What it gives is what the next one takes, or what comes out. */
struct stage {
	const struct encoding *encoding;
	const unsigned char *in;
	size_t in_size;
	unsigned char *out; /* PIECE_BYTES; NULL: it did not begin */
	size_t out_size;    /* of the last run */
	bool has_more;      /* it had no room for all that it could give */
	bool is_complete;
	size_t passed; /* to the next one */

	/* Of the one that it is; set up when it begins. */
	z_stream zlib;
	bool is_zlib_open;
	unsigned char header[ZLIB_HEADER_BYTES];
	size_t header_size;
	BrotliDecoderState *brotli;
	ZSTD_DStream *zstd;
};

struct http_decoder {
	struct stage stages[STAGES_MAX]; /* the last encoding that was put on comes first */
	size_t count;
	size_t max_between_bytes;
	http_decode_source *source;
	void *context;
	unsigned char *encoded; /* PIECE_BYTES, as they come from the source */
};

static int broken(const struct stage *stage, struct error *err)
{
	return error_set(err, ERR_SYNTAX, "the body is not %s, as its content-encoding says",
			 stage->encoding->name);
}

static int no_memory(const struct stage *stage, struct error *err)
{
	return error_set(err, ERR_MEMORY, "no memory to decode a body in %s",
			 stage->encoding->name);
}

static void drop_input(struct stage *stage)
{
	stage->in_size = 0;
}

/* -- gzip and deflate: zlib -------------------------------------------------------------------- */

/* From there, as much as gives one piece. */
static int inflate_piece(struct stage *stage, const unsigned char **in, size_t *in_size,
			 struct error *err)
{
	z_stream *zlib = &stage->zlib;
	uInt given = *in_size < UINT32_MAX ? (uInt)*in_size : UINT32_MAX;
	zlib->next_in = *in;
	zlib->avail_in = given;
	zlib->next_out = stage->out;
	zlib->avail_out = PIECE_BYTES;
	int rc = inflate(zlib, Z_NO_FLUSH);
	if (rc == Z_MEM_ERROR)
		return no_memory(stage, err);
	if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR)
		return broken(stage, err);
	*in += given - zlib->avail_in;
	*in_size -= given - zlib->avail_in;
	stage->out_size = PIECE_BYTES - zlib->avail_out;
	stage->is_complete = rc == Z_STREAM_END;
	stage->has_more = zlib->avail_out == 0 && !stage->is_complete;
	return 0;
}

static int open_zlib(struct stage *stage, int window, struct error *err)
{
	stage->is_zlib_open = inflateInit2(&stage->zlib, window) == Z_OK;
	return stage->is_zlib_open ? 0 : no_memory(stage, err);
}

static void close_zlib(struct stage *stage)
{
	if (stage->is_zlib_open)
		inflateEnd(&stage->zlib);
}

/* gzip may be several members one after the other; anything else behind the end is no
 * content and is ignored, as browsers do. */
static bool starts_new_member(struct stage *stage)
{
	return stage->in_size > 0 && stage->in[0] == 0x1f &&
	       (stage->in_size == 1 || stage->in[1] == 0x8b) && inflateReset(&stage->zlib) == Z_OK;
}

static int run_gzip(struct stage *stage, struct error *err)
{
	if (!stage->is_zlib_open && open_zlib(stage, GZIP_WINDOW, err) != 0)
		return err->code;
	if (stage->is_complete && !starts_new_member(stage)) {
		drop_input(stage);
		return 0;
	}
	return inflate_piece(stage, &stage->in, &stage->in_size, err);
}

/* Some servers send "deflate" without zlib's header (RFC 1950, 2.2), which is recognised by its two
 * bytes: no encoder begins a raw stream with what looks like one. */
static int begin_deflate(struct stage *stage, struct error *err)
{
	while (stage->header_size < ZLIB_HEADER_BYTES && stage->in_size > 0) {
		stage->header[stage->header_size++] = *stage->in++;
		stage->in_size--;
	}
	if (stage->header_size < ZLIB_HEADER_BYTES)
		return 0;
	const unsigned char *header = stage->header;
	size_t left = ZLIB_HEADER_BYTES;
	bool has_header =
	    (header[0] & 0x0f) == Z_DEFLATED && (header[0] << 8 | header[1]) % 31 == 0;
	if (open_zlib(stage, has_header ? MAX_WBITS : -MAX_WBITS, err) != 0)
		return err->code;
	return inflate_piece(stage, &header, &left, err);
}

static int run_deflate(struct stage *stage, struct error *err)
{
	if (!stage->is_zlib_open)
		return begin_deflate(stage, err);
	if (stage->is_complete) {
		drop_input(stage);
		return 0;
	}
	return inflate_piece(stage, &stage->in, &stage->in_size, err);
}

/* -- br ---------------------------------------------------------------------------------------- */

static int run_brotli(struct stage *stage, struct error *err)
{
	if (stage->brotli == NULL)
		stage->brotli = BrotliDecoderCreateInstance(NULL, NULL, NULL);
	if (stage->brotli == NULL)
		return no_memory(stage, err);
	if (stage->is_complete) {
		drop_input(stage);
		return 0;
	}
	unsigned char *out = stage->out;
	size_t room = PIECE_BYTES;
	BrotliDecoderResult result = BrotliDecoderDecompressStream(stage->brotli, &stage->in_size,
								   &stage->in, &room, &out, NULL);
	if (result == BROTLI_DECODER_RESULT_ERROR)
		return broken(stage, err);
	stage->out_size = PIECE_BYTES - room;
	stage->is_complete = result == BROTLI_DECODER_RESULT_SUCCESS;
	stage->has_more = result == BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT;
	return 0;
}

static void close_brotli(struct stage *stage)
{
	BrotliDecoderDestroyInstance(stage->brotli);
}

/* -- zstd -------------------------------------------------------------------------------------- */

static int open_zstd(struct stage *stage, struct error *err)
{
	stage->zstd = ZSTD_createDStream();
	if (stage->zstd == NULL || ZSTD_isError(ZSTD_DCtx_setParameter(
				       stage->zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX)))
		return no_memory(stage, err);
	return 0;
}

/* Frames may follow each other. */
static int run_zstd(struct stage *stage, struct error *err)
{
	if (stage->zstd == NULL && open_zstd(stage, err) != 0)
		return err->code;
	ZSTD_inBuffer in = {stage->in, stage->in_size, 0};
	ZSTD_outBuffer out = {stage->out, PIECE_BYTES, 0};
	size_t rc = ZSTD_decompressStream(stage->zstd, &out, &in);
	bool stands_still = in.pos == 0 && out.pos == 0 && stage->in_size > 0;
	if (ZSTD_isError(rc) || stands_still)
		return broken(stage, err);
	stage->in += in.pos;
	stage->in_size -= in.pos;
	stage->out_size = out.pos;
	stage->is_complete = rc == 0;
	stage->has_more = out.pos == out.size && !stage->is_complete;
	return 0;
}

static void close_zstd(struct stage *stage)
{
	ZSTD_freeDStream(stage->zstd);
}

/* -- all of them ------------------------------------------------------------------------------- */

static const struct encoding known[] = {
    {"gzip", "x-gzip", run_gzip, close_zlib},
    {"deflate", NULL, run_deflate, close_zlib},
    {"br", NULL, run_brotli, close_brotli},
    {"zstd", NULL, run_zstd, close_zstd},
};

static const struct encoding *find_encoding(const char *name)
{
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
		const struct encoding *encoding = &known[i];
		if (str_equal_nocase(name, encoding->name) ||
		    (encoding->other_name != NULL && str_equal_nocase(name, encoding->other_name)))
			return encoding;
	}
	return NULL;
}

/* The header lists encodings in the order in which they were put on; they come off in the
 * other one. */
static bool add_stages(struct http_decoder *decoder, char *list)
{
	static const char SEPARATORS[] = ", \t\r\n";
	const struct encoding *found[STAGES_MAX];
	size_t count = 0;
	char *rest = NULL;
	for (char *name = strtok_r(list, SEPARATORS, &rest); name != NULL;
	     name = strtok_r(NULL, SEPARATORS, &rest)) {
		if (str_equal_nocase(name, "identity"))
			continue;
		if (count == STAGES_MAX || (found[count] = find_encoding(name)) == NULL)
			return false;
		count++;
	}
	while (count > 0)
		decoder->stages[decoder->count++].encoding = found[--count];
	return decoder->count > 0;
}

struct http_decoder *http_decoder_new(const char *encodings, size_t max_between_bytes,
				      http_decode_source *source, void *context)
{
	struct http_decoder *decoder = mem_new(struct http_decoder);
	char *list = mem_strdup(encodings);
	decoder->max_between_bytes = max_between_bytes;
	decoder->source = source;
	decoder->context = context;
	if (!add_stages(decoder, list)) {
		http_decoder_free(decoder);
		decoder = NULL;
	}
	free(list);
	return decoder;
}

void http_decoder_free(struct http_decoder *decoder)
{
	if (decoder == NULL)
		return;
	for (size_t i = 0; i < decoder->count; i++) {
		struct stage *stage = &decoder->stages[i];
		stage->encoding->close(stage);
		free(stage->out);
	}
	free(decoder->encoded);
	free(decoder);
}

/* The last one that can go on, so that each has handed on what it gave before it runs again. */
static struct stage *find_ready(struct http_decoder *decoder)
{
	for (size_t i = decoder->count; i > 0; i--) {
		struct stage *stage = &decoder->stages[i - 1];
		if (stage->has_more || stage->in_size > 0)
			return stage;
	}
	return NULL;
}

static int hand_on(struct http_decoder *decoder, struct stage *stage, struct error *err)
{
	if (stage->out_size > decoder->max_between_bytes - stage->passed)
		return error_set(err, ERR_LIMIT, "more than %zu bytes within the body's %s",
				 decoder->max_between_bytes, stage->encoding->name);
	stage->passed += stage->out_size;
	stage[1].in = stage->out;
	stage[1].in_size = stage->out_size;
	return 0;
}

/* 1: there is more; 0: nothing more comes, and nothing is missing. */
static int take_in(struct http_decoder *decoder, struct error *err)
{
	struct stage *first = &decoder->stages[0];
	size_t count;
	if (decoder->encoded == NULL)
		decoder->encoded = mem_calloc(PIECE_BYTES, 1);
	int rc = decoder->source(decoder->context, decoder->encoded, PIECE_BYTES, &count, err);
	if (rc != 0)
		return rc;
	first->in = decoder->encoded;
	first->in_size = count;
	if (count > 0)
		return 1;
	for (size_t i = 0; i < decoder->count; i++) {
		if (!decoder->stages[i].is_complete)
			return error_set(err, ERR_SYNTAX, "the body ends within its %s encoding",
					 decoder->stages[i].encoding->name);
	}
	return 0;
}

int http_decoder_step(struct http_decoder *decoder, const void **bytes, size_t *count,
		      struct error *err)
{
	struct stage *stage = find_ready(decoder);
	*count = 0;
	if (stage == NULL)
		return take_in(decoder, err);
	if (stage->out == NULL)
		stage->out = mem_calloc(PIECE_BYTES, 1);
	stage->out_size = 0;
	stage->has_more = false;
	int rc = stage->encoding->run(stage, err);
	if (rc == 0 && stage < &decoder->stages[decoder->count - 1]) {
		rc = hand_on(decoder, stage, err);
	} else {
		*bytes = stage->out;
		*count = stage->out_size;
	}
	return rc == 0 ? 1 : rc;
}
