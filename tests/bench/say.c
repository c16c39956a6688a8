#include "tests/bench/say.h"

#include "base/json.h"
#include "base/str.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void die(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

static void usage(const char *program, const struct option_row *rows, size_t count)
{
	fprintf(stderr, "usage: %s", program);
	for (size_t i = 0; i < count; i++)
		fprintf(stderr, rows[i].is_required ? " --%s %s" : " [--%s %s]", rows[i].name,
			rows[i].text != NULL ? "TEXT" : "NUMBER");
	fputc('\n', stderr);
	exit(2);
}

static bool set_option(const struct option_row *row, const char *value)
{
	int64_t number;
	if (row->text != NULL) {
		*row->text = value;
		return true;
	}
	if (!str_to_int64(value, &number) || number < 0)
		return false;
	*row->number = (size_t)number;
	return true;
}

static const struct option_row *find_option(const char *word, const struct option_row *rows,
					    size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (strncmp(word, "--", 2) == 0 && strcmp(word + 2, rows[i].name) == 0)
			return &rows[i];
	}
	return NULL;
}

void options_read(int argc, char **argv, const struct option_row *rows, size_t count)
{
	for (int i = 1; i < argc; i += 2) {
		const struct option_row *row = find_option(argv[i], rows, count);
		if (row == NULL || i + 1 >= argc || !set_option(row, argv[i + 1]))
			usage(argv[0], rows, count);
	}
	for (size_t i = 0; i < count; i++) {
		if (rows[i].is_required && rows[i].text != NULL && *rows[i].text == NULL)
			usage(argv[0], rows, count);
	}
}

void say(const char *word, struct json_object *value)
{
	struct buf line = BUF_INIT(1024 * 1024);
	buf_append_str(&line, word);
	if (value != NULL) {
		buf_append_char(&line, ' ');
		json_write(&line, value);
	}
	puts(buf_str(&line));
	fflush(stdout);
	buf_release(&line);
	json_object_put(value);
}

int64_t now_us(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t cpu_us(int pid)
{
	clockid_t clock;
	struct timespec used;
	if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &used) != 0)
		die("there is no process %d to measure", pid);
	return (int64_t)used.tv_sec * 1000000 + used.tv_nsec / 1000;
}

static int64_t wakeups_of_thread(int pid, const char *thread)
{
	static const char KEY[] = "voluntary_ctxt_switches:";
	char path[64];
	char line[128];
	int64_t count = 0;
	snprintf(path, sizeof path, "/proc/%d/task/%s/status", pid, thread);
	FILE *file = fopen(path, "re");
	if (file == NULL)
		return 0; /* it has just ended */
	while (fgets(line, sizeof line, file) != NULL) {
		if (strncmp(line, KEY, sizeof KEY - 1) == 0)
			count = strtoll(line + sizeof KEY - 1, NULL, 10);
	}
	fclose(file);
	return count;
}

int64_t wakeups(int pid)
{
	char path[32];
	int64_t count = 0;
	snprintf(path, sizeof path, "/proc/%d/task", pid);
	DIR *folder = opendir(path);
	if (folder == NULL)
		return 0;
	for (const struct dirent *entry; (entry = readdir(folder)) != NULL;) {
		if (entry->d_name[0] != '.')
			count += wakeups_of_thread(pid, entry->d_name);
	}
	closedir(folder);
	return count;
}

static int compare(const void *left, const void *right)
{
	const int64_t *a = left;
	const int64_t *b = right;
	return (*a > *b) - (*a < *b);
}

struct json_object *percentiles(int64_t *values, size_t count)
{
	struct json_object *out = json_new_object();
	json_set_int64(out, "count", (int64_t)count);
	if (count == 0)
		return out;
	qsort(values, count, sizeof values[0], compare);
	json_set_int64(out, "p50", values[count / 2]);
	json_set_int64(out, "p90", values[count * 9 / 10]);
	json_set_int64(out, "p99", values[count * 99 / 100]);
	json_set_int64(out, "max", values[count - 1]);
	return out;
}
