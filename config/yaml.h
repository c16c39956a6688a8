/* A YAML file as a tree of mappings, sequences and scalars with their lines; libyaml
 * behind it. Bounded: 1 MiB, YAML_DEPTH_MAX levels, 10,000 nodes. Anchors, aliases, tags, a
 * second document and repeated keys are errors with their line: a settings file needs
 * none of them, and libyaml would load `&a [*a]` as a cycle. */
#ifndef CONFIG_YAML_H
#define CONFIG_YAML_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

enum { YAML_DEPTH_MAX = 16 };
enum yaml_kind { YAML_SCALAR, YAML_MAPPING, YAML_SEQUENCE };

struct yaml_node {
	enum yaml_kind kind;
	size_t line;                 /* from 1 */
	char *key;                   /* in a mapping: this entry's key; else NULL */
	char *value;                 /* scalar: its text */
	bool is_quoted;              /* scalar: was in quotes (so "null" is text) */
	struct yaml_node **children; /* mapping, sequence: in order of the file */
	size_t child_count;
};

/* The caller frees *root; an empty file gives an empty mapping. The top level must be a
 * mapping. Errors read "relay.yaml:12: …" with the path as it was given. */
NODISCARD int yaml_load(const char *path, struct yaml_node **root, struct error *err);
void yaml_free(struct yaml_node *root);
/* The entry of that key, or NULL. */
struct yaml_node *yaml_get(const struct yaml_node *mapping, const char *key);

#endif
