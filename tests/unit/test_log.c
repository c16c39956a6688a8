#include "base/buf.h"
#include "base/json.h"
#include "base/log.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* What is written to descriptor 2 between begin and end. */
struct capture {
	int pipe[2];
	int before;
	char text[65536];
};

static void capture_begin(struct capture *capture)
{
	cr_assert_eq(pipe2(capture->pipe, O_CLOEXEC), 0);
	capture->before = dup(STDERR_FILENO);
	dup2(capture->pipe[1], STDERR_FILENO);
}

static void capture_end(struct capture *capture)
{
	ssize_t got;

	dup2(capture->before, STDERR_FILENO);
	close(capture->before);
	close(capture->pipe[1]);
	got = read(capture->pipe[0], capture->text, sizeof capture->text - 1);
	close(capture->pipe[0]);
	capture->text[got > 0 ? got : 0] = '\0';
}

/* The line behind "2026-11-21T04:00:16.123Z ". */
static const char *line_behind_time(const struct capture *capture)
{
	cr_assert_gt(strlen(capture->text), 25);
	cr_assert_eq(capture->text[23], 'Z');
	cr_assert_eq(capture->text[24], ' ');
	return capture->text + 25;
}

static struct json_object *line_as_json(const struct capture *capture)
{
	struct json_object *line = NULL;
	struct error err = {0};

	cr_assert_eq(json_parse_object(capture->text, strlen(capture->text), &line, &err), 0,
		     "%s: %s", err.message, capture->text);
	return line;
}

Test(log, a_sentence_is_one_line_with_time_and_level)
{
	struct capture capture;

	log_setup(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	capture_begin(&capture);
	log_info("started %s", "here");
	capture_end(&capture);
	cr_assert_str_eq(line_behind_time(&capture), "info  started here\n");
}

Test(log, levels_below_the_chosen_one_are_silent)
{
	struct capture capture;

	log_setup(LOG_LEVEL_WARN, LOG_FORMAT_TEXT);
	cr_assert_not(log_enabled(LOG_LEVEL_INFO));
	cr_assert(log_enabled(LOG_LEVEL_WARN));
	capture_begin(&capture);
	log_debug("no");
	log_info("no");
	log_event(LOG_LEVEL_INFO, "no", NULL, 0);
	log_error("yes");
	capture_end(&capture);
	cr_assert_str_eq(line_behind_time(&capture), "error yes\n");
}

Test(log, fields_are_plain_or_quoted)
{
	struct capture capture;
	const struct log_field fields[] = {
	    LOG_TEXT("plain", "a/b:c"),      LOG_TEXT("space", "a b"),  LOG_TEXT("none", NULL),
	    LOG_TEXT("empty", ""),           LOG_TEXT("equals", "a=b"), LOG_NUMBER("number", -5),
	    LOG_TEXT("quote", "a\"b\\n\nc"), LOG_TEXT("letter", "é"),
	};

	log_setup(LOG_LEVEL_DEBUG, LOG_FORMAT_TEXT);
	capture_begin(&capture);
	log_event(LOG_LEVEL_WARN, "command done", fields, sizeof fields / sizeof *fields);
	capture_end(&capture);
	cr_assert_str_eq(line_behind_time(&capture),
			 "warn  command done plain=a/b:c space=\"a b\" empty=\"\" equals=\"a=b\" "
			 "number=-5 quote=\"a\\\"b\\\\n\\nc\" letter=\"é\"\n");
}

Test(log, json_lines_hold_the_same)
{
	struct capture capture;
	struct json_object *line;
	const char *text;
	int64_t number;
	const struct log_field fields[] = {LOG_TEXT("text", "a\"\\ é"), LOG_TEXT("none", NULL),
					   LOG_NUMBER("number", INT64_MIN)};

	log_setup(LOG_LEVEL_DEBUG, LOG_FORMAT_JSON);
	capture_begin(&capture);
	log_event(LOG_LEVEL_DEBUG, "happened", fields, 3);
	capture_end(&capture);
	cr_assert_eq(capture.text[strlen(capture.text) - 1], '\n');
	line = line_as_json(&capture);
	cr_assert_eq(json_get_text(line, "level", &text, NULL), 0);
	cr_assert_str_eq(text, "debug");
	cr_assert_eq(json_get_text(line, "message", &text, NULL), 0);
	cr_assert_str_eq(text, "happened");
	cr_assert_eq(json_get_text(line, "text", &text, NULL), 0);
	cr_assert_str_eq(text, "a\"\\ é");
	cr_assert_eq(json_get_int64(line, "number", INT64_MIN, 0, &number, NULL), 0);
	cr_assert_eq(number, INT64_MIN);
	cr_assert_eq(json_object_object_length(line), 5);
	json_object_put(line);
}

Test(log, no_input_can_forge_or_break_a_line)
{
	static const char evil[] =
	    "x\n2026-11-21T04:00:16.123Z error forged\r\x1b[2J\xff\xe2\x80\xa8\" k=v";
	const struct log_field fields[] = {LOG_TEXT("value", evil)};
	struct capture capture;

	for (int format = LOG_FORMAT_TEXT; format <= LOG_FORMAT_JSON; format++) {
		log_setup(LOG_LEVEL_DEBUG, format);
		capture_begin(&capture);
		log_warn("%s", evil);
		log_event(LOG_LEVEL_INFO, evil, fields, 1);
		capture_end(&capture);
		for (const char *c = capture.text; *c; c++)
			cr_assert((unsigned char)*c >= 0x20 || *c == '\n');
		cr_assert_not_null(strchr(capture.text, '\n'));
		cr_assert_eq(strchr(strchr(capture.text, '\n') + 1, '\n')[1], '\0', "two lines");
		cr_assert_null(strstr(capture.text, "\xe2\x80\xa8"));
		cr_assert_null(strstr(capture.text, "\xff"));
	}
}

Test(log, lines_are_bounded_and_stay_whole)
{
	static const char *const fillers[] = {"x", "\"", "\x01", "é", "\xff"};
	struct capture capture;
	char text[5001];

	for (size_t i = 0; i < sizeof fillers / sizeof *fillers; i++) {
		const struct log_field fields[] = {LOG_TEXT("a", text), LOG_TEXT("b", text),
						   LOG_TEXT("c", text), LOG_TEXT("d", text),
						   LOG_TEXT("e", text), LOG_NUMBER("last", 1)};
		size_t size = strlen(fillers[i]);

		for (size_t j = 0; j + size < sizeof text; j += size)
			memcpy(text + j, fillers[i], size + 1);
		log_setup(LOG_LEVEL_DEBUG, LOG_FORMAT_JSON);
		capture_begin(&capture);
		log_event(LOG_LEVEL_INFO, text, fields, 6);
		capture_end(&capture);
		cr_assert_leq(strlen(capture.text), 4096);
		cr_assert_gt(strlen(capture.text), 2000);
		json_object_put(line_as_json(&capture));
		log_setup(LOG_LEVEL_DEBUG, LOG_FORMAT_TEXT);
		capture_begin(&capture);
		log_event(LOG_LEVEL_INFO, text, fields, 6);
		capture_end(&capture);
		cr_assert_leq(strlen(capture.text), 4096);
		cr_assert_eq(capture.text[strlen(capture.text) - 1], '\n');
	}
}

Test(log, errno_survives_a_line)
{
	struct capture capture;

	log_setup(LOG_LEVEL_DEBUG, LOG_FORMAT_TEXT);
	capture_begin(&capture);
	errno = EXDEV;
	log_info("x");
	cr_assert_eq(errno, EXDEV);
	capture_end(&capture);
}

/* What one write(2) brought: a pipe of packets keeps them apart. */
static size_t read_write(int pipe_end, char *text, size_t size)
{
	ssize_t got = read(pipe_end, text, size - 1);

	text[got > 0 ? got : 0] = '\0';
	return got > 0 ? (size_t)got : 0;
}

static void packets_begin(struct capture *capture)
{
	cr_assert_eq(pipe2(capture->pipe, O_CLOEXEC | O_DIRECT | O_NONBLOCK), 0);
	capture->before = dup(STDERR_FILENO);
	dup2(capture->pipe[1], STDERR_FILENO);
}

static void packets_end(struct capture *capture)
{
	dup2(capture->before, STDERR_FILENO);
	close(capture->before);
	close(capture->pipe[0]);
	close(capture->pipe[1]);
}

static size_t lines_in(const char *text)
{
	size_t lines = 0;

	for (; *text; text++)
		lines += *text == '\n';
	return lines;
}

Test(log, gathered_lines_are_one_write_at_a_flush_or_a_warning)
{
	struct capture capture;

	log_setup(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	packets_begin(&capture);
	log_gather(true);
	log_info("one");
	log_info("two");
	cr_assert_eq(read_write(capture.pipe[0], capture.text, sizeof capture.text), 0);
	log_flush();
	cr_assert_gt(read_write(capture.pipe[0], capture.text, sizeof capture.text), 0);
	cr_assert_eq(lines_in(capture.text), 2);
	cr_assert_lt(strstr(capture.text, "one"), strstr(capture.text, "two"));
	log_flush(); /* nothing is said twice */
	cr_assert_eq(read_write(capture.pipe[0], capture.text, sizeof capture.text), 0);
	log_info("three");
	log_warn("four");
	cr_assert_gt(read_write(capture.pipe[0], capture.text, sizeof capture.text), 0);
	cr_assert_eq(lines_in(capture.text), 2);
	cr_assert_lt(strstr(capture.text, "three"), strstr(capture.text, "four"));
	log_info("five");
	log_gather(false);
	cr_assert_gt(read_write(capture.pipe[0], capture.text, sizeof capture.text), 0);
	cr_assert_not_null(strstr(capture.text, "five"));
	log_info("six");
	cr_assert_gt(read_write(capture.pipe[0], capture.text, sizeof capture.text), 0);
	cr_assert_not_null(strstr(capture.text, "six"));
	packets_end(&capture);
}

Test(log, gathered_lines_are_written_before_they_are_too_many_for_a_pipe_to_keep_whole)
{
	enum { LINES = 200 };
	struct capture capture;
	char text[500];
	size_t lines = 0, writes = 0;

	memset(text, 'x', sizeof text);
	text[sizeof text - 1] = '\0';
	log_setup(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	packets_begin(&capture);
	log_gather(true);
	for (int i = 0; i < LINES; i++) {
		log_info("%.*s", 100 + 2 * i, text);
		size_t size = read_write(capture.pipe[0], capture.text, sizeof capture.text);
		if (size == 0)
			continue;
		cr_assert_leq(size, 4096);
		cr_assert_eq(capture.text[size - 1], '\n');
		lines += lines_in(capture.text);
		writes++;
	}
	log_gather(false);
	if (read_write(capture.pipe[0], capture.text, sizeof capture.text) > 0)
		lines += lines_in(capture.text);
	cr_assert_eq(lines, LINES);
	cr_assert_gt(writes, 15);
	cr_assert_lt(writes, LINES / 4);
	packets_end(&capture);
}

Test(log, gathered_lines_outlive_an_abort)
{
	struct capture capture;
	int status;

	capture_begin(&capture);
	log_setup(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	pid_t child = fork();
	if (child == 0) {
		log_gather(true);
		log_info("the last thing that was done");
		abort();
	}
	cr_assert_eq(waitpid(child, &status, 0), child);
	capture_end(&capture);
	cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	cr_assert_not_null(strstr(capture.text, "the last thing that was done"));
}
