/* A YAML file as a tree of mappings, sequences and scalars with their lines; libyaml
 * behind it. Bounded: 1 MiB, YAML_DEPTH_MAX levels, 10,000 nodes. Anchors, aliases, tags,
 * merge keys, a second document and repeated keys are errors with their line: a settings
 * file needs none of them, and libyaml would load `&a [*a]` as a cycle. No key and no
 * scalar holds a NUL. The file may hold secrets: texts are wiped when freed.
 *
 * The functions are named yaml_tree_… because libyaml exports a yaml_free() that it calls
 * itself; one of ours in the program would take its place. */
#ifndef CONFIG_YAML_H
#define CONFIG_YAML_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

enum { YAML_DEPTH_MAX = 16, YAML_NODES_MAX = 10000, YAML_BYTES_MAX = 1024 * 1024 };
enum yaml_kind { YAML_SCALAR, YAML_MAPPING, YAML_SEQUENCE };

struct yaml_node {
	enum yaml_kind kind;
	size_t line;                 /* from 1; in a mapping: where the entry's key is */
	char *key;                   /* in a mapping: this entry's key; else NULL */
	char *value;                 /* scalar: its text, else NULL */
	bool is_quoted;              /* scalar: was in quotes or a block (so "null" is text) */
	struct yaml_node **children; /* mapping, sequence: in order of the file */
	size_t child_count;
};

/* The caller frees *root; an empty file gives an empty mapping. The top level must be a
 * mapping. Errors read "relay.yaml:12: …" with the path as it was given; ERR_NOT_FOUND
 * when there is no such file. */
NODISCARD int yaml_tree_load(const char *path, struct yaml_node **root, struct error *err);
/* The same from memory; name stands for the path in errors. */
NODISCARD int yaml_tree_parse(const char *text, size_t size, const char *name,
			      struct yaml_node **root, struct error *err);
void yaml_tree_free(struct yaml_node *node);
/* The entry of that key, or NULL (also when the node is not a mapping). */
struct yaml_node *yaml_tree_get(const struct yaml_node *mapping, const char *key);
/* A scalar that says nothing: empty, ~ or null, not in quotes. */
bool yaml_tree_is_null(const struct yaml_node *node);

#endif
