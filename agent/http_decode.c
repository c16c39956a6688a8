#include "agent/http_decode.h"

#include "base/mem.h"
#include "base/str.h"

#include <assert.h>
#include <brotli/decode.h>
#include <stdlib.h>
#include <string.h>
#define ZLIB_CONST /* input is not ours to change */
#include <zlib.h>
#include <zstd.h>

enum {
	STAGES_MAX = 4, /* encodings on top of each other */
	OUTPUT_SIZE = 16 * 1024,
	GZIP_WINDOW = 16 + MAX_WBITS, /* as zlib wants it said */
	ZSTD_WINDOW_LOG_MAX = 23,     /* 8 MiB, what RFC 8878 asks decoders to support */
};

/* One encoding. Its output goes into the next stage, or out. */
struct stage {
	const char *name;
	int (*write)(struct http_decoder *decoder, size_t index, const unsigned char *bytes,
		     size_t size, struct error *err);
	z_stream zlib;
	bool is_raw_tried; /* deflate: without the header that it should have */
	BrotliDecoderState *brotli;
	ZSTD_DStream *zstd;
	bool is_complete;
	size_t passed; /* to the next one */
};

struct http_decoder {
	struct stage stages[STAGES_MAX]; /* the last encoding that was put on comes first */
	size_t count;
	size_t max_between_bytes;
	http_decode_output *output;
	void *context;
};

static int pass_on(struct http_decoder *decoder, size_t index, const unsigned char *bytes,
		   size_t size, struct error *err)
{
	if (size == 0)
		return 0;
	if (index + 1 < decoder->count) {
		struct stage *stage = &decoder->stages[index];
		if (size > decoder->max_between_bytes - stage->passed)
			return error_set(err, ERR_LIMIT, "more than %zu bytes within the body's %s",
					 decoder->max_between_bytes, stage->name);
		stage->passed += size;
		return decoder->stages[index + 1].write(decoder, index + 1, bytes, size, err);
	}
	int rc = decoder->output(decoder->context, bytes, size);
	return rc == 0 ? 0 : error_set(err, rc, "the decoded body is not taken");
}

static int broken(const struct stage *stage, struct error *err)
{
	return error_set(err, ERR_SYNTAX, "the body is not %s, as its content-encoding says",
			 stage->name);
}

/* Some servers send "deflate" without zlib's header. */
static bool can_try_raw(struct stage *stage, int rc)
{
	if (rc != Z_DATA_ERROR || strcmp(stage->name, "deflate") != 0 || stage->is_raw_tried ||
	    stage->zlib.total_out > 0)
		return false;
	stage->is_raw_tried = true;
	return inflateReset2(&stage->zlib, -MAX_WBITS) == Z_OK;
}

/* gzip may be several members one after the other; anything else behind the end is no
 * content and is ignored, as browsers do. */
static bool starts_new_member(struct stage *stage)
{
	const z_stream *zlib = &stage->zlib;
	if (strcmp(stage->name, "gzip") != 0 || zlib->avail_in == 0 || zlib->next_in[0] != 0x1f ||
	    (zlib->avail_in > 1 && zlib->next_in[1] != 0x8b))
		return false;
	return inflateReset(&stage->zlib) == Z_OK;
}

static int write_zlib(struct http_decoder *decoder, size_t index, const unsigned char *bytes,
		      size_t size, struct error *err)
{
	struct stage *stage = &decoder->stages[index];
	z_stream *zlib = &stage->zlib;
	unsigned char out[OUTPUT_SIZE];
	assert(size <= UINT32_MAX);
	zlib->next_in = bytes;
	zlib->avail_in = (uInt)size;
	if (stage->is_complete)
		stage->is_complete = !starts_new_member(stage);
	while (!stage->is_complete) {
		zlib->next_out = out;
		zlib->avail_out = sizeof out;
		int rc = inflate(zlib, Z_NO_FLUSH);
		if (can_try_raw(stage, rc)) {
			zlib->next_in = bytes;
			zlib->avail_in = (uInt)size;
			continue;
		}
		if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR)
			return broken(stage, err);
		int passed = pass_on(decoder, index, out, sizeof out - zlib->avail_out, err);
		if (passed != 0)
			return passed;
		if (rc == Z_STREAM_END)
			stage->is_complete = !starts_new_member(stage);
		else if (zlib->avail_out > 0)
			break; /* all of the input is used up */
	}
	return 0;
}

static int write_brotli(struct http_decoder *decoder, size_t index, const unsigned char *bytes,
			size_t size, struct error *err)
{
	struct stage *stage = &decoder->stages[index];
	unsigned char out[OUTPUT_SIZE];
	BrotliDecoderResult result = BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT;
	while (!stage->is_complete && result == BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT) {
		unsigned char *next_out = out;
		size_t available = sizeof out;
		result = BrotliDecoderDecompressStream(stage->brotli, &size, &bytes, &available,
						       &next_out, NULL);
		if (result == BROTLI_DECODER_RESULT_ERROR)
			return broken(stage, err);
		int passed = pass_on(decoder, index, out, sizeof out - available, err);
		if (passed != 0)
			return passed;
		stage->is_complete = result == BROTLI_DECODER_RESULT_SUCCESS;
	}
	return 0;
}

static int write_zstd(struct http_decoder *decoder, size_t index, const unsigned char *bytes,
		      size_t size, struct error *err)
{
	struct stage *stage = &decoder->stages[index];
	unsigned char out[OUTPUT_SIZE];
	ZSTD_inBuffer in = {bytes, size, 0};
	bool is_full = true;
	while (in.pos < in.size || is_full) {
		ZSTD_outBuffer decoded = {out, sizeof out, 0};
		size_t before = in.pos;
		size_t rc = ZSTD_decompressStream(stage->zstd, &decoded, &in);
		if (ZSTD_isError(rc))
			return broken(stage, err);
		stage->is_complete = rc == 0;
		is_full = decoded.pos == sizeof out;
		int passed = pass_on(decoder, index, out, decoded.pos, err);
		if (passed != 0)
			return passed;
		if (in.pos == before && decoded.pos == 0)
			break;
	}
	return 0;
}

static bool init_zlib(struct stage *stage, const char *name, int window)
{
	stage->name = name;
	stage->write = write_zlib;
	return inflateInit2(&stage->zlib, window) == Z_OK;
}

static bool stage_init(struct stage *stage, const char *name)
{
	if (str_equal_nocase(name, "gzip") || str_equal_nocase(name, "x-gzip"))
		return init_zlib(stage, "gzip", GZIP_WINDOW);
	if (str_equal_nocase(name, "deflate"))
		return init_zlib(stage, "deflate", MAX_WBITS);
	if (str_equal_nocase(name, "br")) {
		stage->name = "br";
		stage->write = write_brotli;
		stage->brotli = BrotliDecoderCreateInstance(NULL, NULL, NULL);
		return stage->brotli != NULL;
	}
	if (str_equal_nocase(name, "zstd")) {
		stage->name = "zstd";
		stage->write = write_zstd;
		stage->zstd = ZSTD_createDStream();
		return stage->zstd != NULL &&
		       !ZSTD_isError(ZSTD_DCtx_setParameter(stage->zstd, ZSTD_d_windowLogMax,
							    ZSTD_WINDOW_LOG_MAX));
	}
	return false;
}

/* The header lists encodings in the order in which they were put on; they come off in the
 * other one. A stage must stay where it was set up: zlib keeps its address. */
static bool add_stages(struct http_decoder *decoder, char *list)
{
	static const char SEPARATORS[] = ", \t\r\n";
	const char *names[STAGES_MAX];
	size_t count = 0;
	char *rest = NULL;
	for (char *name = strtok_r(list, SEPARATORS, &rest); name != NULL;
	     name = strtok_r(NULL, SEPARATORS, &rest)) {
		if (str_equal_nocase(name, "identity"))
			continue;
		if (count == STAGES_MAX)
			return false;
		names[count++] = name;
	}
	while (count > 0) {
		if (!stage_init(&decoder->stages[decoder->count++], names[--count]))
			return false;
	}
	return decoder->count > 0;
}

struct http_decoder *http_decoder_new(const char *encodings, size_t max_between_bytes,
				      http_decode_output *output, void *context)
{
	struct http_decoder *decoder = mem_new(struct http_decoder);
	char *list = mem_strdup(encodings);
	decoder->max_between_bytes = max_between_bytes;
	decoder->output = output;
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
		if (stage->write == write_zlib)
			inflateEnd(&stage->zlib);
		BrotliDecoderDestroyInstance(stage->brotli);
		ZSTD_freeDStream(stage->zstd);
	}
	free(decoder);
}

int http_decoder_write(struct http_decoder *decoder, const void *bytes, size_t size,
		       struct error *err)
{
	return decoder->stages[0].write(decoder, 0, bytes, size, err);
}

int http_decoder_finish(struct http_decoder *decoder, struct error *err)
{
	for (size_t i = 0; i < decoder->count; i++) {
		const struct stage *stage = &decoder->stages[i];
		if (!stage->is_complete)
			return error_set(err, ERR_SYNTAX, "the body ends within its %s encoding",
					 stage->name);
	}
	return 0;
}
