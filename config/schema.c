#include "config/schema.h"

#include "base/str.h"

#include <inttypes.h>
#include <string.h>

void schema_flag(const struct setting *setting, const char *prefix, char *flag, size_t size)
{
	const char *name = setting->env;
	struct buf text = BUF_INIT(SETTING_FLAG_MAX);
	if (str_has_prefix(name, prefix))
		name += strlen(prefix);
	if (setting->type != SETTING_SECRET)
		buf_printf(&text, "--%s", name);
	for (size_t i = 0; i < text.size; i++)
		if (text.data[i] == '_')
			text.data[i] = '-';
	size_t length = text.size < size ? text.size : size - 1;
	memcpy(flag, buf_str(&text), length);
	flag[length] = '\0';
	str_lower(flag);
	buf_release(&text);
}

static void append_choices(const struct setting *setting, struct buf *out)
{
	buf_append_str(out, "one of ");
	for (size_t i = 0; setting->choices[i]; i++)
		buf_printf(out, "%s%s", i ? ", " : "", setting->choices[i]);
}

void schema_expectation(const struct setting *setting, struct buf *out)
{
	switch (setting->type) {
	case SETTING_TEXT:
	case SETTING_SECRET:
		buf_append_str(out, "one line of text");
		break;
	case SETTING_URL:
		buf_append_str(out, "an absolute http or https URL");
		break;
	case SETTING_PATH:
		buf_append_str(out, "the path of a file that can be read");
		break;
	case SETTING_INT:
		buf_append_str(out, "a whole number ");
		if (setting->unit)
			buf_printf(out, "of %s ", setting->unit);
		buf_printf(out, "from %" PRId64 " to %" PRId64, setting->min, setting->max);
		break;
	case SETTING_BOOL:
		buf_append_str(out, "true or false");
		break;
	case SETTING_CHOICE:
		append_choices(setting, out);
		break;
	}
}

static bool is_required(const struct setting *setting)
{
	return (setting->required_for & SETTING_REQUIRED) != 0;
}

/* The help, and what its type asks for where that says something new. */
static void append_what(const struct setting *setting, struct buf *out)
{
	buf_append_str(out, setting->help);
	if (setting->type == SETTING_INT || setting->type == SETTING_BOOL ||
	    setting->type == SETTING_CHOICE) {
		buf_append_str(out, "; ");
		schema_expectation(setting, out);
	}
}

static bool has_yaml(const struct setting *table, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (table[i].yaml)
			return true;
	return false;
}

static void append_name_cell(const char *name, const char *twin, struct buf *out)
{
	if (!name || !*name)
		buf_append_str(out, " |");
	else if (twin)
		buf_printf(out, " `%s`, `%s%s` |", name, name, twin);
	else
		buf_printf(out, " `%s` |", name);
}

static void append_row(const struct setting *setting, const char *prefix, bool with_yaml,
		       struct buf *out)
{
	bool is_secret = setting->type == SETTING_SECRET;
	char flag[SETTING_FLAG_MAX];
	schema_flag(setting, prefix, flag, sizeof flag);
	buf_append_str(out, "|");
	append_name_cell(setting->env, is_secret ? "_FILE" : NULL, out);
	if (with_yaml)
		append_name_cell(setting->yaml, is_secret ? "_file" : NULL, out);
	append_name_cell(flag, NULL, out);
	if (setting->fallback)
		append_name_cell(setting->fallback, NULL, out);
	else
		buf_append_str(out, is_required(setting) ? " required |" : " none |");
	buf_append_str(out, " ");
	append_what(setting, out);
	buf_append_str(out, " |\n");
}

void schema_markdown(const struct setting *table, size_t count, const char *prefix, struct buf *out)
{
	bool with_yaml = has_yaml(table, count);
	buf_printf(out, "| environment |%s flag | default | what |\n|---|%s---|---|---|\n",
		   with_yaml ? " YAML |" : "", with_yaml ? "---|" : "");
	for (size_t i = 0; i < count; i++)
		append_row(&table[i], prefix, with_yaml, out);
}

/* Two lines a setting: its names, then what it is. */
void schema_help(const struct setting *table, size_t count, const char *prefix, struct buf *out)
{
	for (size_t i = 0; i < count; i++) {
		const struct setting *setting = &table[i];
		char flag[SETTING_FLAG_MAX];
		schema_flag(setting, prefix, flag, sizeof flag);
		buf_printf(out, "  %s%s%s", flag, *flag ? ", " : "", setting->env);
		if (setting->type == SETTING_SECRET)
			buf_printf(out, ", %s_FILE", setting->env);
		buf_append_str(out, "\n        ");
		append_what(setting, out);
		if (setting->fallback)
			buf_printf(out, " (default %s)", setting->fallback);
		else if (is_required(setting))
			buf_append_str(out, " (required)");
		buf_append_str(out, "\n");
	}
}
