#include "base/log.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/str.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* LINE_BYTES is PIPE_BUF: up to there a pipe keeps a line whole between other writers. */
enum {
	LINE_BYTES = 4096,
	MESSAGE_BYTES = 2048,
	VALUE_BYTES = 1024,
	CLOSING_BYTES = 2,
	USUAL_BYTES = 512
};

static enum log_level log_level = LOG_LEVEL_INFO;
static enum log_format log_format = LOG_FORMAT_TEXT;
static bool is_gathering;
static char gathered[LINE_BYTES]; /* whole lines */
static size_t gathered_size;

typedef void append_fn(struct buf *out, const char *text, size_t max_bytes);

void log_setup(enum log_level level, enum log_format format)
{
	log_level = level;
	log_format = format;
}

bool log_enabled(enum log_level level)
{
	return level >= log_level;
}

static const char *level_name(enum log_level level)
{
	static const char *const names[] = {"debug", "info", "warn", "error"};

	return names[level];
}

static void append_plain(struct buf *out, const char *text, size_t max_bytes)
{
	str_append_printable(out, text, strlen(text), max_bytes);
}

static void append_json(struct buf *out, const char *text, size_t max_bytes)
{
	struct buf printable = BUF_INIT(LINE_BYTES);
	size_t size = strlen(text);

	if (size <= max_bytes && json_is_plain(text, size)) { /* as most values are */
		buf_append_char(out, '"');
		buf_append(out, text, size);
		buf_append_char(out, '"');
		return;
	}
	str_append_printable(&printable, text, size, max_bytes);
	if (printable.failed)
		out->failed = printable.failed;
	buf_append_char(out, '"');
	json_write_escaped(out, buf_str(&printable), printable.size);
	buf_append_char(out, '"');
	buf_release(&printable);
}

/* Quotes and backslashes of the text itself are escaped, so that `\n` in a quoted value
 * is always a line feed and the closing quote always ours. */
static void append_quoted(struct buf *out, const char *text, size_t max_bytes)
{
	size_t size = strlen(text);
	size_t shown = str_cut(text, size, max_bytes);

	buf_append_char(out, '"');
	for (size_t i = 0; i < shown;) {
		size_t run = strcspn(text + i, "\"\\");

		if (run > shown - i)
			run = shown - i;
		str_append_printable(out, text + i, run, run);
		i += run;
		if (i < shown) {
			buf_append_char(out, '\\');
			buf_append_char(out, text[i++]);
		}
	}
	buf_append_str(out, shown < size ? "…\"" : "\"");
}

static void append_value(struct buf *out, const char *text, size_t max_bytes)
{
	bool plain = *text != '\0';

	for (const char *c = text; *c && plain; c++)
		plain = *c > ' ' && *c < 0x7F && *c != '"' && *c != '=' && *c != '\\';
	if (plain)
		append_plain(out, text, max_bytes);
	else
		append_quoted(out, text, max_bytes);
}

/* Appends as much of text as fits: escaping makes texts longer by a factor that depends
 * on what is in them, so shorter and shorter cuts are tried. */
static void append_fitting(struct buf *line, append_fn *append, const char *text, size_t max_bytes)
{
	size_t before = line->size;

	for (;; max_bytes /= 4) {
		append(line, text, max_bytes);
		if (line->failed != ERR_LIMIT || max_bytes == 0)
			return;
		line->failed = 0;
		buf_truncate(line, before);
	}
}

static void append_head(struct buf *line, enum log_level level, const char *message)
{
	char now[CLOCK_TEXT_SIZE];

	clock_format(clock_now_ms(), now);
	if (log_format == LOG_FORMAT_JSON) {
		buf_append_str(line, "{\"time\":\"");
		buf_append_str(line, now);
		buf_append_str(line, "\",\"level\":\"");
		buf_append_str(line, level_name(level));
		buf_append_str(line, "\",\"message\":");
		append_fitting(line, append_json, message, MESSAGE_BYTES);
	} else {
		buf_printf(line, "%s %-5s ", now, level_name(level));
		append_fitting(line, append_plain, message, MESSAGE_BYTES);
	}
}

static void append_number(struct buf *line, int64_t number)
{
	char digits[20]; /* of UINT64_MAX */
	size_t at = sizeof digits;
	uint64_t rest = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;

	do {
		digits[--at] = (char)('0' + rest % 10);
	} while ((rest /= 10) > 0);
	if (number < 0)
		buf_append_char(line, '-');
	buf_append(line, digits + at, sizeof digits - at);
}

static void append_field(struct buf *line, const struct log_field *field)
{
	bool json = log_format == LOG_FORMAT_JSON;
	size_t before = line->size;

	if (!field->is_number && !field->text)
		return;
	if (json) {
		buf_append_str(line, ",\"");
		buf_append_str(line, field->key); /* ours: nothing in it needs escaping */
		buf_append_str(line, "\":");
	} else {
		buf_append_char(line, ' ');
		buf_append_str(line, field->key);
		buf_append_char(line, '=');
	}
	if (field->is_number)
		append_number(line, field->number);
	else if (!line->failed)
		append_fitting(line, json ? append_json : append_value, field->text, VALUE_BYTES);
	if (line->failed) { /* a field is in the line as a whole or not at all */
		line->failed = 0;
		buf_truncate(line, before);
	}
}

static void write_out(const char *bytes, size_t size)
{
	ssize_t written;

	do {
		written = write(STDERR_FILENO, bytes, size);
	} while (written < 0 && errno == EINTR);
}

static void flush_gathered(void)
{
	if (gathered_size > 0)
		write_out(gathered, gathered_size);
	gathered_size = 0;
}

static void end_line(struct buf *line)
{
	line->max = LINE_BYTES;
	if (log_format == LOG_FORMAT_JSON)
		buf_append_char(line, '}');
	buf_append_char(line, '\n');
}

static void write_line(const struct buf *line, enum log_level level)
{
	if (line->size > sizeof gathered - gathered_size)
		flush_gathered();
	memcpy(gathered + gathered_size, buf_str(line), line->size);
	gathered_size += line->size;
	if (!is_gathering || level >= LOG_LEVEL_WARN)
		flush_gathered();
}

void log_flush(void)
{
	int saved_errno = errno;

	flush_gathered();
	errno = saved_errno;
}

/* What led to it would be missing. It goes on when this returns. */
static void on_abort(int signal_number)
{
	(void)signal_number;
	flush_gathered();
}

void log_gather(bool on)
{
	is_gathering = on;
	(void)signal(SIGABRT, on ? on_abort : SIG_DFL); /* else lines are lost, nothing more */
	if (!on)
		log_flush();
}

void log_event(enum log_level level, const char *event, const struct log_field *fields,
	       size_t count)
{
	struct buf line = BUF_INIT(LINE_BYTES - CLOSING_BYTES);
	int saved_errno = errno;

	if (!log_enabled(level))
		return;
	(void)buf_reserve(&line, USUAL_BYTES); /* else appending says it */
	append_head(&line, level, event);
	for (size_t i = 0; i < count; i++)
		append_field(&line, &fields[i]);
	end_line(&line);
	write_line(&line, level);
	buf_release(&line);
	errno = saved_errno;
}

static void log_sentence(enum log_level level, const char *format, va_list args)
{
	char text[MESSAGE_BYTES + 8]; /* longer than what is shown: the cut is marked */

	if (!log_enabled(level))
		return;
	(void)vsnprintf(text, sizeof text, format, args);
	log_event(level, text, NULL, 0);
}

#define DEFINE_LOG(name, level)                    \
	void name(const char *format, ...)         \
	{                                          \
		va_list args;                      \
                                                   \
		va_start(args, format);            \
		log_sentence(level, format, args); \
		va_end(args);                      \
	}

DEFINE_LOG(log_debug, LOG_LEVEL_DEBUG)
DEFINE_LOG(log_info, LOG_LEVEL_INFO)
DEFINE_LOG(log_warn, LOG_LEVEL_WARN)
DEFINE_LOG(log_error, LOG_LEVEL_ERROR)
