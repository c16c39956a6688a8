/* Reads a program's settings, once, from four places: command line, environment, YAML
 * file, default; the first that names a setting wins. Every problem of every place is
 * collected with its source, so that all can be mended in one go. */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include "base/problems.h"
#include "config/schema.h"

#include <stdbool.h>
#include <stddef.h>

enum { EXIT_CONFIG = 78 }; /* EX_CONFIG of sysexits.h */

struct config_source {
	const struct setting *table;
	size_t count;
	const char *flag_prefix; /* see schema_flag */
	const char *file;        /* YAML file to read; NULL: none */
	bool file_is_optional;   /* a default path that need not exist */
	unsigned needs;          /* a setting whose required_for shares a bit must be given */
};

/* Takes "--flag value" and "--flag=value" of the table's settings out of argv (argv[0]
 * stays, *argc shrinks), in front of a "--" only, and remembers them in values[i] (borrowed
 * from argv; count entries, zeroed by the caller). Problems: a flag without value (then ""
 * in values, which config_load passes over), one given twice, a secret (it is taken out as
 * well, with its value). Words it does not know stay for the verb's own parser. */
void config_take_flags(const struct config_source *source, int *argc, char **argv,
		       const char **values, struct problems *problems);

/* Fills settings (zeroed by the caller) from flag values (may be NULL), environment, file
 * and defaults. An empty environment value counts as not given. With problems found the
 * struct may be half filled; the caller releases it in any case. YAML keys in
 * other_sections (NULL-terminated, may be NULL) at the top level are left to others.
 *
 * Messages name the setting by what was used: "AGENT_ID (environment): …",
 * "service.agent_id (relay.yaml:12): …", "--agent-id (command line): …",
 * "COMMAND_SERVICE_URL: missing: set it in the environment, as service.url in the YAML
 * file or with --command-service-url, for example https://…". The value is quoted
 * except for secrets and is_private settings. */
void config_load(const struct config_source *source, const char *const *flag_values,
		 const char *const *other_sections, void *settings, struct problems *problems);

/* Frees and wipes what config_load put there. */
void config_release(const struct setting *table, size_t count, void *settings);

#endif
