#include "config/known.h"

#include "base/mem.h"
#include "base/str.h"

#include <stdlib.h>
#include <string.h>

/* The names a file may hold: settings ("service.url", "service.token_file") and the
 * sections they are in ("service"). */
struct names {
	char **items; /* NULL-terminated */
	size_t count;
	size_t setting_count; /* settings first, then sections */
};

struct walk {
	const struct config_source *source;
	const char *const *other_sections;
	struct names names;
	struct problems *problems;
};

static bool is_in(const char *const *names, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

/* Takes name. */
static void add_name(struct names *names, char *name)
{
	if (is_in((const char *const *)names->items, names->count, name)) {
		free(name);
		return;
	}
	names->items = mem_realloc_array(names->items, names->count + 2, sizeof *names->items);
	names->items[names->count++] = name;
	names->items[names->count] = NULL;
}

static void collect_settings(struct walk *walk)
{
	for (size_t i = 0; i < walk->source->count; i++) {
		const struct setting *setting = &walk->source->table[i];
		if (!setting->yaml)
			continue;
		add_name(&walk->names, mem_strdup(setting->yaml));
		if (setting->type == SETTING_SECRET)
			add_name(&walk->names, mem_printf("%s_file", setting->yaml));
	}
	walk->names.setting_count = walk->names.count;
}

/* "a.b.c" has the sections "a" and "a.b". */
static void collect_sections(struct walk *walk)
{
	for (size_t i = 0; i < walk->names.setting_count; i++)
		for (size_t at = 0; walk->names.items[i][at]; at++)
			if (walk->names.items[i][at] == '.')
				add_name(&walk->names, mem_strndup(walk->names.items[i], at));
	for (size_t i = 0; walk->other_sections && walk->other_sections[i]; i++)
		add_name(&walk->names, mem_strdup(walk->other_sections[i]));
}

static void release_names(struct names *names)
{
	for (size_t i = 0; i < names->count; i++)
		free(names->items[i]);
	free(names->items);
}

static const char *last_part(const char *path)
{
	const char *dot = strrchr(path, '.');
	return dot ? dot + 1 : path;
}

/* What was probably meant: somebody wrote the environment's name, forgot or mistook the
 * section, or mistyped. */
static const char *suggest(const struct walk *walk, const char *path, const char *key)
{
	for (size_t i = 0; i < walk->source->count; i++)
		if (walk->source->table[i].yaml &&
		    str_equal_nocase(walk->source->table[i].env, key))
			return walk->source->table[i].yaml;
	for (size_t i = 0; i < walk->names.setting_count; i++)
		if (strcmp(last_part(walk->names.items[i]), last_part(key)) == 0)
			return walk->names.items[i];
	if (!walk->names.items)
		return NULL;
	return str_nearest(path, (const char *const *)walk->names.items);
}

static void add_problem(const struct walk *walk, const struct yaml_node *node, const char *path,
			const char *what)
{
	struct buf shown = BUF_INIT(1024);
	str_append_printable(&shown, path, strlen(path), 100);
	problems_add(walk->problems, "%s:%zu: %s %s", walk->source->file, node->line,
		     buf_str(&shown), what);
	buf_release(&shown);
}

static void add_unknown(const struct walk *walk, const struct yaml_node *node, const char *path)
{
	const char *meant = suggest(walk, path, node->key);
	char *what;
	if (strchr(node->key, '.') && meant && strcmp(meant, path) == 0)
		what = mem_strdup("is not known when written with a dot: write each part of the "
				  "name in a line of its own, the second one indented");
	else if (meant)
		what = mem_printf("is not known: did you mean %s?", meant);
	else
		what = mem_strdup("is not known");
	add_problem(walk, node, path, what);
	free(what);
}

static const char *kind_name(const struct yaml_node *node)
{
	return node->kind == YAML_MAPPING ? "a group of settings" : "a list";
}

static void check_mapping(const struct walk *walk, const struct yaml_node *mapping,
			  const char *prefix);

static void check_setting(const struct walk *walk, const struct yaml_node *node, const char *path)
{
	if (node->kind == YAML_SCALAR)
		return;
	char *what = mem_printf("must be a single value, not %s", kind_name(node));
	add_problem(walk, node, path, what);
	free(what);
}

/* A section whose entries are all commented out is an empty scalar, and fine. */
static void check_section(const struct walk *walk, const struct yaml_node *node, const char *path)
{
	if (node->kind == YAML_MAPPING)
		check_mapping(walk, node, path);
	else if (node->kind == YAML_SEQUENCE)
		add_problem(walk, node, path, "must be a group of settings, not a list");
	else if (!yaml_tree_is_null(node))
		add_problem(walk, node, path, "must be a group of settings, not a single value");
}

static bool is_other_section(const struct walk *walk, const char *key)
{
	for (size_t i = 0; walk->other_sections && walk->other_sections[i]; i++)
		if (strcmp(walk->other_sections[i], key) == 0)
			return true;
	return false;
}

enum key_kind { KEY_UNKNOWN, KEY_SETTING, KEY_SECTION, KEY_OF_OTHERS };

/* path is the key with its sections in front; a key with a dot of its own only looks like
 * a path, and nobody would find its value. */
static enum key_kind kind_of_key(const struct walk *walk, const char *key, const char *path)
{
	const struct names *names = &walk->names;
	const char *const *items = (const char *const *)names->items;
	if (strchr(key, '.'))
		return KEY_UNKNOWN;
	if (is_in(items, names->setting_count, path))
		return KEY_SETTING;
	if (strcmp(key, path) == 0 && is_other_section(walk, key))
		return KEY_OF_OTHERS;
	return is_in(items, names->count, path) ? KEY_SECTION : KEY_UNKNOWN;
}

/* Depth is bounded by the tree's. */
static void check_mapping(const struct walk *walk, const struct yaml_node *mapping,
			  const char *prefix)
{
	for (size_t i = 0; i < mapping->child_count; i++) {
		const struct yaml_node *node = mapping->children[i];
		char *path = mem_printf("%s%s%s", prefix, *prefix ? "." : "", node->key);
		switch (kind_of_key(walk, node->key, path)) {
		case KEY_SETTING:
			check_setting(walk, node, path);
			break;
		case KEY_SECTION:
			check_section(walk, node, path);
			break;
		case KEY_UNKNOWN:
			add_unknown(walk, node, path);
			break;
		case KEY_OF_OTHERS:
			break;
		}
		free(path);
	}
}

void known_check(const struct config_source *source, const char *const *other_sections,
		 const struct yaml_node *root, struct problems *problems)
{
	struct walk walk = {
	    .source = source, .other_sections = other_sections, .problems = problems};
	collect_settings(&walk);
	collect_sections(&walk);
	check_mapping(&walk, root, "");
	release_names(&walk.names);
}
