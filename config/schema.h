/* What a setting is. A program has one table of these; its environment names, YAML
 * paths, command-line flags, types, defaults, ranges, help, reference page and error
 * messages all come from that table. Values are written into the program's own struct
 * at `offset`. */
#ifndef CONFIG_SCHEMA_H
#define CONFIG_SCHEMA_H

#include "base/buf.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum setting_type {
	SETTING_TEXT,   /* char *, owned by the struct */
	SETTING_URL,    /* char *: an absolute http or https URL */
	SETTING_PATH,   /* char *: a file that can be read when the settings are loaded */
	SETTING_INT,    /* int64_t, min … max */
	SETTING_BOOL,   /* bool: true/false, yes/no, on/off, 1/0 */
	SETTING_CHOICE, /* int: index into choices */
	SETTING_SECRET, /* struct secret: no command-line flag, has a …_FILE twin, never shown */
};

/* Bit 0 of required_for is the program's main job: help and reference page call such a
 * setting required. */
enum { SETTING_REQUIRED = 1 << 0 };

enum { SETTING_FLAG_MAX = 64 }; /* room for any flag */

struct setting {
	const char *env;            /* "AGENT_ID" */
	const char *yaml;           /* "service.agent_id"; NULL: not in a file */
	enum setting_type type;     /* decides what is at offset */
	size_t offset;              /* in the program's struct of settings */
	const char *fallback;       /* the default as it would be written; NULL: none */
	int64_t min, max;           /* SETTING_INT */
	const char *const *choices; /* SETTING_CHOICE: NULL-terminated */
	unsigned required_for;      /* bits of the program's own: config_load's `needs` */
	bool is_private;            /* may hold a password (proxy URL): value never shown */
	/* Asks more of a text, URL or secret than its type does; NULL: nothing more. The
	 * message completes "AGENT_ID (environment): …" and must not show a secret. */
	int (*check)(const char *text, size_t size, struct error *err);
	const char *unit;    /* "seconds", "bytes"…; NULL: none */
	const char *help;    /* one line, no full stop at the end */
	const char *example; /* what would be right, for messages: "https://…" */
};

/* The flag of a setting on the command line: "--agent-id" for AGENT_ID; prefix ("" or
 * "COMMAND_SERVICE_") is taken off first. Writes at most size bytes with a NUL; "" where
 * the setting has no flag (secrets: command lines can be read by everybody). */
void schema_flag(const struct setting *setting, const char *prefix, char *flag, size_t size);
/* "a whole number of bytes from 1 to 10000", "one of auto, http, tdp", …: completes
 * "must be …". */
void schema_expectation(const struct setting *setting, struct buf *out);
/* The table as a Markdown page section, and as lines for --help. */
void schema_markdown(const struct setting *table, size_t count, const char *prefix,
		     struct buf *out);
void schema_help(const struct setting *table, size_t count, const char *prefix, struct buf *out);

#endif
