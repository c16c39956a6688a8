#include "config/yaml.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/secret.h"
#include "base/str.h"

#include <stdint.h>
#include <string.h>
#include <yaml.h>

/* We take libyaml's events and build the tree ourselves: its own loader follows aliases,
 * has no ceiling and keeps repeated keys. */
struct reader {
	yaml_parser_t parser;
	const char *name;
	const char *text;
	size_t size;
	size_t nodes;
};

static int fail(const struct reader *reader, const yaml_mark_t *mark, int code, const char *what,
		struct error *err)
{
	return error_set(err, code, "%s:%zu: %s", reader->name, mark->line + 1, what);
}

static size_t line_of_offset(const struct reader *reader, size_t offset)
{
	size_t line = 1;
	for (size_t i = 0; i < offset && i < reader->size; i++)
		line += reader->text[i] == '\n';
	return line;
}

/* What libyaml says about its own failure. Its texts are fixed ones and quote nothing of
 * the file. */
static int fail_parser(const struct reader *reader, struct error *err)
{
	const yaml_parser_t *parser = &reader->parser;
	const char *what = parser->problem ? parser->problem : "not YAML";
	if (parser->error == YAML_MEMORY_ERROR)
		return error_set(err, ERR_MEMORY, "%s: out of memory", reader->name);
	if (parser->error == YAML_READER_ERROR) {
		size_t line = line_of_offset(reader, parser->problem_offset);
		return error_set(err, ERR_SYNTAX, "%s:%zu: not UTF-8 text: %s", reader->name, line,
				 what);
	}
	if (parser->context)
		return error_set(err, ERR_SYNTAX, "%s:%zu: %s %s", reader->name,
				 parser->problem_mark.line + 1, what, parser->context);
	return fail(reader, &parser->problem_mark, ERR_SYNTAX, what, err);
}

static int next_event(struct reader *reader, yaml_event_t *event, struct error *err)
{
	if (yaml_parser_parse(&reader->parser, event))
		return 0;
	return fail_parser(reader, err);
}

/* libyaml frees a scalar's text without wiping it, and it may have been a secret. */
static void end_event(yaml_event_t *event)
{
	if (event->type == YAML_SCALAR_EVENT && event->data.scalar.value)
		secret_wipe(event->data.scalar.value, event->data.scalar.length);
	yaml_event_delete(event);
}

static void wipe_text(char *text)
{
	if (text)
		secret_wipe(text, strlen(text));
	free(text);
}

void yaml_tree_free(struct yaml_node *node)
{
	if (!node)
		return;
	for (size_t i = 0; i < node->child_count; i++)
		yaml_tree_free(node->children[i]);
	free(node->children);
	free(node->key);
	wipe_text(node->value);
	free(node);
}

struct yaml_node *yaml_tree_get(const struct yaml_node *mapping, const char *key)
{
	if (!mapping || mapping->kind != YAML_MAPPING)
		return NULL;
	for (size_t i = 0; i < mapping->child_count; i++)
		if (strcmp(mapping->children[i]->key, key) == 0)
			return mapping->children[i];
	return NULL;
}

bool yaml_tree_is_null(const struct yaml_node *node)
{
	if (node->kind != YAML_SCALAR || node->is_quoted)
		return false;
	return *node->value == '\0' || strcmp(node->value, "~") == 0 ||
	       str_equal_nocase(node->value, "null");
}

/* Room is doubled whenever the count is a power of two, so no capacity is kept. */
static void add_child(struct yaml_node *parent, struct yaml_node *child)
{
	size_t count = parent->child_count;
	if ((count & (count - 1)) == 0) {
		size_t room = count ? count * 2 : 1;
		parent->children =
		    mem_realloc_array(parent->children, room, sizeof(struct yaml_node *));
	}
	parent->children[parent->child_count++] = child;
}

static int check_no_nul(const struct reader *reader, const yaml_event_t *event, struct error *err)
{
	if (!memchr(event->data.scalar.value, '\0', event->data.scalar.length))
		return 0;
	return fail(reader, &event->start_mark, ERR_SYNTAX, "a NUL character", err);
}

static char *scalar_text(const yaml_event_t *event)
{
	return mem_strndup((const char *)event->data.scalar.value, event->data.scalar.length);
}

/* Anchors and tags, whatever they stand in front of. */
static int check_decoration(const struct reader *reader, const yaml_event_t *event,
			    struct error *err)
{
	const yaml_char_t *anchor = NULL, *tag = NULL;
	if (event->type == YAML_SCALAR_EVENT) {
		anchor = event->data.scalar.anchor;
		tag = event->data.scalar.tag;
	} else if (event->type == YAML_SEQUENCE_START_EVENT) {
		anchor = event->data.sequence_start.anchor;
		tag = event->data.sequence_start.tag;
	} else if (event->type == YAML_MAPPING_START_EVENT) {
		anchor = event->data.mapping_start.anchor;
		tag = event->data.mapping_start.tag;
	} else if (event->type == YAML_ALIAS_EVENT) {
		return fail(reader, &event->start_mark, ERR_SYNTAX,
			    "aliases (*name) are not allowed here; text that begins with * needs "
			    "quotes",
			    err);
	}
	if (anchor)
		return fail(reader, &event->start_mark, ERR_SYNTAX,
			    "anchors (&name) are not allowed here; text that begins with & needs "
			    "quotes",
			    err);
	if (tag)
		return fail(reader, &event->start_mark, ERR_SYNTAX,
			    "tags (!name) are not allowed here; text that begins with ! needs "
			    "quotes",
			    err);
	return 0;
}

static int read_node(struct reader *reader, const yaml_event_t *event, int depth,
		     struct yaml_node **ret_node, struct error *err);

static int read_value(struct reader *reader, int depth, struct yaml_node **value, struct error *err)
{
	yaml_event_t event;
	int rc = next_event(reader, &event, err);
	if (rc)
		return rc;
	rc = read_node(reader, &event, depth, value, err);
	end_event(&event);
	return rc;
}

static int check_key(const struct reader *reader, const yaml_event_t *event,
		     const struct yaml_node *mapping, const char *key, struct error *err)
{
	const struct yaml_node *earlier = yaml_tree_get(mapping, key);
	if (*key == '\0')
		return fail(reader, &event->start_mark, ERR_SYNTAX, "an empty key", err);
	if (strcmp(key, "<<") == 0 && event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
		return fail(reader, &event->start_mark, ERR_SYNTAX,
			    "merge keys (<<) are not allowed here", err);
	if (!earlier)
		return 0;
	struct buf shown = BUF_INIT(1024);
	str_append_printable(&shown, key, strlen(key), 100);
	int rc =
	    error_set(err, ERR_SYNTAX, "%s:%zu: %s is there already, in line %zu", reader->name,
		      event->start_mark.line + 1, buf_str(&shown), earlier->line);
	buf_release(&shown);
	return rc;
}

static int read_entry(struct reader *reader, const yaml_event_t *key_event, int depth,
		      struct yaml_node *mapping, struct error *err)
{
	struct yaml_node *value = NULL;
	int rc = check_decoration(reader, key_event, err);
	if (rc)
		return rc;
	if (key_event->type != YAML_SCALAR_EVENT)
		return fail(reader, &key_event->start_mark, ERR_SYNTAX, "a key must be plain text",
			    err);
	rc = check_no_nul(reader, key_event, err);
	if (rc)
		return rc;
	char *key = scalar_text(key_event);
	rc = check_key(reader, key_event, mapping, key, err);
	if (!rc)
		rc = read_value(reader, depth, &value, err);
	if (rc) {
		free(key);
		return rc;
	}
	value->key = key;
	value->line = key_event->start_mark.line + 1;
	add_child(mapping, value);
	return 0;
}

/* The entries of a mapping or the items of a sequence, up to its end. */
static int read_children(struct reader *reader, int depth, struct yaml_node *node,
			 struct error *err)
{
	for (;;) {
		yaml_event_t event;
		int rc = next_event(reader, &event, err);
		if (rc)
			return rc;
		bool is_end =
		    event.type == YAML_MAPPING_END_EVENT || event.type == YAML_SEQUENCE_END_EVENT;
		struct yaml_node *item = NULL;
		if (is_end)
			rc = 0;
		else if (node->kind == YAML_MAPPING)
			rc = read_entry(reader, &event, depth, node, err);
		else
			rc = read_node(reader, &event, depth, &item, err);
		end_event(&event);
		if (rc || is_end)
			return rc;
		if (item)
			add_child(node, item);
	}
}

static int check_bounds(struct reader *reader, const yaml_event_t *event, int depth,
			struct error *err)
{
	if (depth > YAML_DEPTH_MAX)
		return error_set(err, ERR_LIMIT, "%s:%zu: nested more than %d levels deep",
				 reader->name, event->start_mark.line + 1, YAML_DEPTH_MAX);
	if (++reader->nodes > YAML_NODES_MAX)
		return error_set(err, ERR_LIMIT, "%s:%zu: more than %d values", reader->name,
				 event->start_mark.line + 1, YAML_NODES_MAX);
	return 0;
}

/* The node that begins with event; recursion ends at YAML_DEPTH_MAX. */
static int read_node(struct reader *reader, const yaml_event_t *event, int depth,
		     struct yaml_node **ret_node, struct error *err)
{
	int rc = check_decoration(reader, event, err);
	if (!rc)
		rc = check_bounds(reader, event, depth, err);
	if (rc)
		return rc;
	struct yaml_node *node = mem_new(struct yaml_node);
	node->line = event->start_mark.line + 1;
	if (event->type == YAML_SCALAR_EVENT) {
		node->kind = YAML_SCALAR;
		node->is_quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
		rc = check_no_nul(reader, event, err);
		node->value = scalar_text(event);
	} else {
		bool is_mapping = event->type == YAML_MAPPING_START_EVENT;
		node->kind = is_mapping ? YAML_MAPPING : YAML_SEQUENCE;
		rc = read_children(reader, depth + 1, node, err);
	}
	if (rc) {
		yaml_tree_free(node);
		return rc;
	}
	*ret_node = node;
	return 0;
}

/* The top of a file: nothing at all, or one mapping. */
static int read_top(struct reader *reader, const yaml_event_t *event, struct yaml_node **root,
		    struct error *err)
{
	struct yaml_node *node = NULL;
	int rc = read_node(reader, event, 1, &node, err);
	if (rc)
		return rc;
	if (yaml_tree_is_null(node)) { /* a file of "---" and comments */
		yaml_tree_free(node);
		return 0;
	}
	if (node->kind != YAML_MAPPING) {
		yaml_tree_free(node);
		return fail(reader, &event->start_mark, ERR_SYNTAX,
			    "the file must hold sections like \"service:\" at its top level", err);
	}
	*root = node;
	return 0;
}

static int read_stream(struct reader *reader, struct yaml_node **root, struct error *err)
{
	bool is_first = true, is_end = false;
	int rc = 0;
	while (!rc && !is_end) {
		yaml_event_t event;
		rc = next_event(reader, &event, err);
		if (rc)
			return rc;
		is_end = event.type == YAML_STREAM_END_EVENT;
		if (event.type == YAML_DOCUMENT_START_EVENT && !is_first)
			rc = fail(reader, &event.start_mark, ERR_SYNTAX,
				  "a second document (---) is not allowed here", err);
		else if (event.type == YAML_DOCUMENT_START_EVENT)
			is_first = false;
		else if (!is_end && event.type != YAML_STREAM_START_EVENT &&
			 event.type != YAML_DOCUMENT_END_EVENT)
			rc = read_top(reader, &event, root, err);
		end_event(&event);
	}
	return rc;
}

/* The file went through libyaml's own buffers, and it may have held secrets. */
static void end_parser(yaml_parser_t *parser)
{
	if (parser->raw_buffer.start)
		secret_wipe(parser->raw_buffer.start,
			    (size_t)(parser->raw_buffer.end - parser->raw_buffer.start));
	if (parser->buffer.start)
		secret_wipe(parser->buffer.start,
			    (size_t)(parser->buffer.end - parser->buffer.start));
	yaml_parser_delete(parser);
}

int yaml_tree_parse(const char *text, size_t size, const char *name, struct yaml_node **root,
		    struct error *err)
{
	struct yaml_node *tree = NULL;
	if (size > YAML_BYTES_MAX)
		return error_set(err, ERR_LIMIT, "%s: larger than %d bytes", name, YAML_BYTES_MAX);
	/* libyaml would count a byte order mark as a column, and the first line as indented. */
	size_t mark = size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
	struct reader reader = {.name = name, .text = text + mark, .size = size - mark};
	if (!yaml_parser_initialize(&reader.parser))
		return error_set(err, ERR_MEMORY, "%s: out of memory", name);
	/* Not left to a byte order mark: a UTF-16 file is then an error that says so. */
	yaml_parser_set_encoding(&reader.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&reader.parser, (const unsigned char *)reader.text,
				     reader.size);
	int rc = read_stream(&reader, &tree, err);
	end_parser(&reader.parser);
	if (rc) {
		yaml_tree_free(tree);
		return rc;
	}
	if (!tree) {
		tree = mem_new(struct yaml_node);
		tree->kind = YAML_MAPPING;
		tree->line = 1;
	}
	*root = tree;
	return 0;
}

int yaml_tree_load(const char *path, struct yaml_node **root, struct error *err)
{
	struct buf text = BUF_INIT(YAML_BYTES_MAX);
	int rc = file_read(path, &text, err);
	if (!rc)
		rc = yaml_tree_parse(buf_str(&text), text.size, path, root, err);
	buf_wipe(&text);
	return rc;
}
