#include "agent/cmd.h"

#include "base/file.h"
#include "base/log.h"
#include "base/problems.h"
#include "config/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool cmd_wants_help(int argc, char **argv, const char *help, bool with_settings)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (strcmp(argv[i], "--help") != 0 && strcmp(argv[i], "-h") != 0)
			continue;
		fputs(help, stdout);
		if (with_settings) {
			struct buf text = BUF_INIT(1024 * 1024);
			schema_help(settings_table, settings_count, "", &text);
			printf(
			    "\nSettings (environment variable or YAML file; flags where shown):\n"
			    "  --config FILE  the YAML file (RELAY_CONFIG)\n%s",
			    buf_str(&text));
			buf_release(&text);
		}
		return true;
	}
	return false;
}

static enum log_format log_format_of(int setting)
{
	if (setting == SETTINGS_LOG_AUTO)
		return isatty(STDERR_FILENO) ? LOG_FORMAT_TEXT : LOG_FORMAT_JSON;
	return setting == SETTINGS_LOG_JSON ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT;
}

int cmd_load_settings(struct settings *settings, unsigned needs, int *argc, char **argv)
{
	struct problems problems = PROBLEMS_INIT;
	settings_load(settings, needs, argc, argv, &problems);
	if (problems.count == 0) {
		log_setup((enum log_level)settings->log_level, log_format_of(settings->log_format));
		return 0;
	}
	struct buf text = BUF_INIT(1024 * 1024);
	problems_join(&problems, "\n  ", &text);
	fprintf(stderr,
		"relay-agent: %zu problem%s with the settings:\n  %s\n"
		"`relay-agent settings` lists all settings.\n",
		problems.count, problems.count == 1 ? "" : "s", buf_str(&text));
	buf_release(&text);
	problems_release(&problems);
	return EXIT_CONFIG;
}

int cmd_usage_error(const char *verb, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	fprintf(stderr, "relay-agent %s: ", verb);
	vfprintf(stderr, format, args);
	fprintf(stderr, "\nTry `relay-agent %s --help`.\n", verb);
	va_end(args);
	return EXIT_USAGE;
}

int cmd_failed(const struct error *err)
{
	fprintf(stderr, "relay-agent: %s\n", err->message);
	return EXIT_FAILURE;
}

int cmd_check_operands(int argc, char **argv, int min_operands, int max_operands)
{
	int operands = 0;
	for (int i = 1; i < argc; i++) {
		if (argv[i][0] == '-' && argv[i][1] != '\0')
			return cmd_usage_error(argv[0], "%s is not an option here", argv[i]);
		operands++;
	}
	if (operands < min_operands)
		return cmd_usage_error(argv[0], "a FILE is missing (- is standard input)");
	if (operands > max_operands)
		return cmd_usage_error(argv[0], "\"%s\" is one word too many",
				       argv[1 + max_operands]);
	return 0;
}

int cmd_write(const char *path, const void *bytes, size_t size, struct error *err)
{
	if (path == NULL || strcmp(path, "-") == 0)
		return file_write_all(STDOUT_FILENO, bytes, size, err);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0)
		return error_set_errno(err, errno, "cannot write %s", path);
	int rc = file_write_all(fd, bytes, size, err);
	if (close(fd) != 0 && rc == 0)
		rc = error_set_errno(err, errno, "cannot write %s", path);
	return rc;
}

struct aead *cmd_open_key(const struct secret *text, struct error *err)
{
	struct key key = {0};
	if (key_parse(text->bytes, text->size, &key, err) != 0)
		return NULL;
	struct aead *aead = aead_new(&key);
	key_release(&key);
	return aead;
}
