#include "base/error.h"

#include "base/str.h"

#include <stdio.h>
#include <string.h>

/* The text is built beside err first, because an argument may be err->message itself. */
static void set(struct error *err, int code, int os_errno, const char *text)
{
	size_t size = str_cut(text, strlen(text), sizeof err->message - 1);

	err->code = code;
	err->os_errno = os_errno;
	memmove(err->message, text, size);
	err->message[size] = '\0';
}

int error_set(struct error *err, int code, const char *format, ...)
{
	char text[ERROR_MESSAGE_MAX + 1];
	va_list args;

	if (!err)
		return code;
	va_start(args, format);
	(void)vsnprintf(text, sizeof text, format, args); /* cut texts are wanted */
	va_end(args);
	set(err, code, 0, text);
	return code;
}

int error_set_errno(struct error *err, int os_errno, const char *format, ...)
{
	char text[ERROR_MESSAGE_MAX + 1];
	char whole[2 * ERROR_MESSAGE_MAX];
	char reason[128];
	const char *description = strerrordesc_np(os_errno); /* not locale's, thread-safe */
	va_list args;

	if (!err)
		return ERR_SYSTEM;
	va_start(args, format);
	(void)vsnprintf(text, sizeof text, format, args);
	va_end(args);
	/* The reason is worth more than the end of a long name. */
	(void)snprintf(reason, sizeof reason, ": %s", description ? description : "unknown error");
	text[str_cut(text, strlen(text), ERROR_MESSAGE_MAX - 1 - strlen(reason))] = '\0';
	(void)snprintf(whole, sizeof whole, "%s%s", text, reason);
	set(err, ERR_SYSTEM, os_errno, whole);
	return ERR_SYSTEM;
}

int error_prefix(struct error *err, const char *format, ...)
{
	char prefix[ERROR_MESSAGE_MAX];
	char whole[2 * ERROR_MESSAGE_MAX + 2];
	va_list args;

	if (!err)
		return ERR_SYSTEM;
	va_start(args, format);
	(void)vsnprintf(prefix, sizeof prefix, format, args);
	va_end(args);
	(void)snprintf(whole, sizeof whole, "%s: %s", prefix, err->message);
	set(err, err->code, err->os_errno, whole);
	return err->code;
}
