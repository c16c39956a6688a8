#include "config/value.h"

#include "base/mem.h"
#include "base/secret.h"
#include "base/str.h"
#include "base/url.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SHOWN_BYTES_MAX = 80 };

static void *value_at(const struct setting *setting, void *settings)
{
	return (char *)settings + setting->offset;
}

/* A URL may carry a password or a token where nobody expected one. */
static bool may_be_shown(const struct setting *setting, const char *text)
{
	if (setting->type == SETTING_SECRET || setting->is_private)
		return false;
	return setting->type != SETTING_URL || !strpbrk(text, "@?#");
}

static int refuse(const struct setting *setting, const char *text, const char *reason,
		  struct error *err)
{
	if (!may_be_shown(setting, text))
		return error_set(err, ERR_INVALID, "%s", reason);
	struct buf shown = BUF_INIT(1024);
	str_append_printable(&shown, text, strlen(text), SHOWN_BYTES_MAX);
	int rc = error_set(err, ERR_INVALID, "\"%s\" is not right: %s", buf_str(&shown), reason);
	buf_release(&shown);
	return rc;
}

/* "must be …, for example …" */
static int refuse_type(const struct setting *setting, const char *text, struct error *err)
{
	struct buf reason = BUF_INIT(1024);
	buf_append_str(&reason, "must be ");
	schema_expectation(setting, &reason);
	if (setting->example)
		buf_printf(&reason, ", for example %s", setting->example);
	int rc = refuse(setting, text, buf_str(&reason), err);
	buf_release(&reason);
	return rc;
}

/* What no text of ours holds, whatever it is for; NULL when it is fine. White space around
 * a value is a slip of the pen that would show as a failure far from here. */
static const char *text_fault(const char *text, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
			return "must not hold line breaks, tabs or other control characters";
	if (!str_is_utf8(text, size))
		return "must be UTF-8 text";
	if (size > 0 && (text[0] == ' ' || text[size - 1] == ' '))
		return "must not have white space around it";
	return NULL;
}

static int run_check(const struct setting *setting, const char *text, size_t size,
		     struct error *err)
{
	struct error reason;
	if (!setting->check || !setting->check(text, size, &reason))
		return 0;
	return refuse(setting, text, reason.message, err);
}

/* The parser says more exactly what is wrong than "must be an absolute URL" would. */
static int check_url(const struct setting *setting, const char *text, struct error *err)
{
	struct url url;
	struct error fault = {0};
	if (strchr(text, ' ')) /* url_parse would quietly encode it */
		return refuse(setting, text, "must be a URL without spaces", err);
	if (url_parse(text, &url, &fault) == 0) {
		url_release(&url);
		return 0;
	}
	char *reason =
	    mem_printf("%s%s%s", fault.message, setting->example ? "; right is, for example, " : "",
		       setting->example ? setting->example : "");
	int rc = refuse(setting, text, reason, err);
	free(reason);
	return rc;
}

/* O_NONBLOCK: opening a FIFO must not wait for its writer. */
static int check_path(const struct setting *setting, const char *text, struct error *err)
{
	struct stat info;
	struct error reason;
	int fd = open(text, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0) {
		(void)error_set_errno(&reason, errno, "the file cannot be read");
		return refuse(setting, text, reason.message, err);
	}
	bool is_file = fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
	close(fd);
	if (!is_file)
		return refuse(setting, text, "must be the path of a file", err);
	return 0;
}

static int check_text(const struct setting *setting, const char *text, size_t size,
		      struct error *err)
{
	const char *fault = text_fault(text, size);
	int rc = 0;
	if (fault)
		return refuse(setting, text, fault, err);
	if (setting->type == SETTING_URL)
		rc = check_url(setting, text, err);
	else if (setting->type == SETTING_PATH)
		rc = check_path(setting, text, err);
	return rc ? rc : run_check(setting, text, size, err);
}

static int set_text(const struct setting *setting, const char *text, size_t size, void *settings,
		    struct error *err)
{
	char **value = value_at(setting, settings);
	value_release(setting, settings);
	*value = mem_strndup(text, size);
	return check_text(setting, text, size, err);
}

static int set_int(const struct setting *setting, const char *text, int64_t *value,
		   struct error *err)
{
	int64_t number;
	if (!str_to_int64(text, &number) || number < setting->min || number > setting->max)
		return refuse_type(setting, text, err);
	*value = number;
	return 0;
}

static int set_bool(const struct setting *setting, const char *text, bool *value, struct error *err)
{
	static const char *const words[] = {"false", "no", "off", "0", "true", "yes", "on", "1"};
	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		if (str_equal_nocase(text, words[i])) {
			*value = i >= 4;
			return 0;
		}
	}
	return refuse_type(setting, text, err);
}

static int set_choice(const struct setting *setting, const char *text, int *value,
		      struct error *err)
{
	for (int i = 0; setting->choices[i]; i++) {
		if (str_equal_nocase(text, setting->choices[i])) {
			*value = i;
			return 0;
		}
	}
	return refuse_type(setting, text, err);
}

static int set_secret(const struct setting *setting, const char *text, size_t size,
		      struct secret *value, struct error *err)
{
	int rc = run_check(setting, text, size, err);
	if (!rc)
		secret_set(value, text, size);
	return rc;
}

int value_set(const struct setting *setting, const char *text, size_t size, void *settings,
	      struct error *err)
{
	void *value = value_at(setting, settings);
	switch (setting->type) {
	case SETTING_TEXT:
	case SETTING_URL:
	case SETTING_PATH:
		return set_text(setting, text, size, settings, err);
	case SETTING_INT:
		return set_int(setting, text, value, err);
	case SETTING_BOOL:
		return set_bool(setting, text, value, err);
	case SETTING_CHOICE:
		return set_choice(setting, text, value, err);
	case SETTING_SECRET:
		return set_secret(setting, text, size, value, err);
	}
	return 0;
}

static void release_text(char **text)
{
	if (*text)
		secret_wipe(*text, strlen(*text)); /* a proxy URL may hold a password */
	free(*text);
	*text = NULL;
}

void value_release(const struct setting *setting, void *settings)
{
	void *value = value_at(setting, settings);
	switch (setting->type) {
	case SETTING_TEXT:
	case SETTING_URL:
	case SETTING_PATH:
		release_text(value);
		break;
	case SETTING_SECRET:
		secret_release(value);
		break;
	case SETTING_INT:
		*(int64_t *)value = 0;
		break;
	case SETTING_BOOL:
		*(bool *)value = false;
		break;
	case SETTING_CHOICE:
		*(int *)value = 0;
		break;
	}
}
