#include "config/config.h"

#include "base/file.h"
#include "base/mem.h"
#include "config/known.h"
#include "config/value.h"
#include "config/yaml.h"

#include <stdlib.h>
#include <string.h>

enum { SECRET_FILE_MAX = 64 * 1024 };

struct load {
	const struct config_source *source;
	const char *const *flag_values; /* NULL: none */
	struct yaml_node *root;         /* NULL: no file, or one that cannot be read */
	bool is_file_broken;
	void *settings;
	struct problems *problems;
};

/* A place names a setting once by value or, for secrets, by a file that holds it. */
struct given {
	const char *name;  /* as that place calls it */
	const char *place; /* "environment", "relay.yaml:12" */
	const char *text;
};

static void apply_text(const struct load *load, const struct setting *setting,
		       const struct given *given, size_t size)
{
	struct error err;
	if (value_set(setting, given->text, size, load->settings, &err))
		problems_add(load->problems, "%s (%s): %s", given->name, given->place, err.message);
}

/* Editors and `echo` end a file with a newline that is no part of the secret. */
static size_t size_without_newline(const struct buf *content)
{
	size_t size = content->size;
	if (size > 0 && content->data[size - 1] == '\n')
		size--;
	if (size < content->size && size > 0 && content->data[size - 1] == '\r')
		size--;
	return size;
}

/* Why a secret's file could not be read, without its path: what stands there may be the
 * secret itself, given under the wrong name. */
static const char *read_fault(const struct error *err)
{
	if (err->code == ERR_NOT_FOUND)
		return "there is no such file";
	if (err->os_errno)
		return strerror(err->os_errno);
	return err->code == ERR_LIMIT ? "it is far too large for a secret" : "it is not a file";
}

static void apply_secret_file(const struct load *load, const struct setting *setting,
			      const struct given *given)
{
	struct buf content = BUF_INIT(SECRET_FILE_MAX);
	const char *fault = NULL;
	struct error err = {0};
	/* file_read takes "-" for standard input, which is the verbs' to read. */
	if (strcmp(given->text, "-") == 0)
		fault = "it is not a file";
	else if (file_read(given->text, &content, &err))
		fault = read_fault(&err);
	else
		buf_truncate(&content, size_without_newline(&content));
	if (!fault && content.size == 0)
		fault = "it is empty";
	if (fault) {
		problems_add(load->problems, "%s (%s): must be the path of a file: %s", given->name,
			     given->place, fault);
	} else {
		struct given text = {given->name, given->place, content.data};
		apply_text(load, setting, &text, content.size);
	}
	buf_wipe(&content);
}

static bool from_flags(const struct load *load, size_t index)
{
	const struct setting *setting = &load->source->table[index];
	char flag[SETTING_FLAG_MAX];
	const char *text = load->flag_values ? load->flag_values[index] : NULL;
	if (!text)
		return false;
	schema_flag(setting, load->source->flag_prefix, flag, sizeof flag);
	struct given given = {.name = flag, .place = "command line", .text = text};
	if (*text) /* else config_take_flags has said so */
		apply_text(load, setting, &given, strlen(text));
	return true;
}

static const char *environment(const char *name)
{
	const char *text = getenv(name);
	return text && *text ? text : NULL;
}

static bool from_environment(const struct load *load, const struct setting *setting)
{
	char *file_name = mem_printf("%s_FILE", setting->env);
	struct given value = {setting->env, "environment", environment(setting->env)};
	struct given file = {file_name, "environment", NULL};
	if (setting->type == SETTING_SECRET)
		file.text = environment(file_name);
	bool is_given = value.text || file.text;
	if (value.text && file.text)
		problems_add(load->problems,
			     "%s (environment): %s is set as well: only one of them may be",
			     setting->env, file_name);
	else if (file.text)
		apply_secret_file(load, setting, &file);
	else if (value.text)
		apply_text(load, setting, &value, strlen(value.text));
	free(file_name);
	return is_given;
}

/* The node at "service.url" with "" or "_file" behind it; NULL: none. */
static const struct yaml_node *find_node(const struct yaml_node *root, const char *path,
					 const char *suffix)
{
	char *names = mem_printf("%s%s", path, suffix);
	const struct yaml_node *node = root;
	char *rest = names;
	while (node && rest) {
		const char *name = strsep(&rest, ".");
		node = yaml_tree_get(node, name);
	}
	free(names);
	return node;
}

static void apply_node(const struct load *load, const struct setting *setting,
		       const struct yaml_node *node, bool is_file)
{
	char *name = mem_printf("%s%s", setting->yaml, is_file ? "_file" : "");
	char *place = mem_printf("%s:%zu", load->source->file, node->line);
	struct given given = {name, place, node->value};
	if (node->kind != YAML_SCALAR)
		; /* known_check has said so */
	else if (yaml_tree_is_null(node) || !*node->value)
		problems_add(load->problems, "%s (%s): has no value", name, place);
	else if (is_file)
		apply_secret_file(load, setting, &given);
	else
		apply_text(load, setting, &given, strlen(node->value));
	free(name);
	free(place);
}

static bool from_file(const struct load *load, const struct setting *setting)
{
	const struct yaml_node *value = NULL, *file = NULL;
	if (load->root && setting->yaml)
		value = find_node(load->root, setting->yaml, "");
	if (load->root && setting->yaml && setting->type == SETTING_SECRET)
		file = find_node(load->root, setting->yaml, "_file");
	if (value && file)
		problems_add(load->problems,
			     "%s (%s:%zu): %s_file is there as well, in line %zu: only one of "
			     "them may be",
			     setting->yaml, load->source->file, value->line, setting->yaml,
			     file->line);
	else if (value)
		apply_node(load, setting, value, false);
	else if (file)
		apply_node(load, setting, file, true);
	return value || file;
}

static bool from_default(const struct load *load, const struct setting *setting)
{
	if (!setting->fallback)
		return false;
	struct given given = {setting->env, "default", setting->fallback};
	apply_text(load, setting, &given, strlen(setting->fallback));
	return true;
}

/* Every way to give it, the environment first: it is the one all settings have. */
static void add_missing(const struct load *load, const struct setting *setting)
{
	struct buf ways = BUF_INIT(4096);
	bool is_secret = setting->type == SETTING_SECRET;
	bool has_yaml = setting->yaml && load->source->file;
	char flag[SETTING_FLAG_MAX];
	schema_flag(setting, load->source->flag_prefix, flag, sizeof flag);
	buf_append_str(&ways, "set it in the environment");
	if (is_secret)
		buf_printf(&ways, ", or %s_FILE to the path of a file that holds it", setting->env);
	if (has_yaml)
		buf_printf(&ways, "%s as %s%s%s%s in the YAML file", *flag ? "," : ", or",
			   setting->yaml, is_secret ? " or " : "", is_secret ? setting->yaml : "",
			   is_secret ? "_file" : "");
	if (*flag)
		buf_printf(&ways, "%s or with %s", has_yaml ? "" : ",", flag);
	if (setting->example)
		buf_printf(&ways, ", for example %s", setting->example);
	problems_add(load->problems, "%s: missing: %s", setting->env, buf_str(&ways));
	buf_release(&ways);
}

static void load_setting(const struct load *load, size_t index)
{
	const struct setting *setting = &load->source->table[index];
	if (from_flags(load, index) || from_environment(load, setting) ||
	    from_file(load, setting) || from_default(load, setting))
		return;
	if (!(setting->required_for & load->source->needs))
		return;
	/* It may well be in the file that could not be read. */
	if (load->is_file_broken && setting->yaml)
		return;
	add_missing(load, setting);
}

static void load_file(struct load *load, const char *const *other_sections)
{
	const struct config_source *source = load->source;
	struct error err;
	int rc = yaml_tree_load(source->file, &load->root, &err);
	if (rc == ERR_NOT_FOUND && source->file_is_optional)
		return;
	if (rc) {
		load->is_file_broken = true;
		problems_add(load->problems, "%s", err.message);
		return;
	}
	known_check(source, other_sections, load->root, load->problems);
}

void config_load(const struct config_source *source, const char *const *flag_values,
		 const char *const *other_sections, void *settings, struct problems *problems)
{
	struct load load = {.source = source,
			    .flag_values = flag_values,
			    .settings = settings,
			    .problems = problems};
	if (source->file)
		load_file(&load, other_sections);
	for (size_t i = 0; i < source->count; i++)
		load_setting(&load, i);
	yaml_tree_free(load.root);
}

void config_release(const struct setting *table, size_t count, void *settings)
{
	for (size_t i = 0; i < count; i++)
		value_release(&table[i], settings);
}
