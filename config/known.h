/* Is every key of a settings file one that somebody knows? A misspelled key would
 * otherwise be a setting that silently does not apply. */
#ifndef CONFIG_KNOWN_H
#define CONFIG_KNOWN_H

#include "base/problems.h"
#include "config/config.h"
#include "config/yaml.h"

/* Adds a problem for each key that neither the table nor other_sections (may be NULL)
 * knows, with the nearest known one, and for each value of the wrong kind. */
void known_check(const struct config_source *source, const char *const *other_sections,
		 const struct yaml_node *root, struct problems *problems);

#endif
