#include "config/config.h"

#include "base/mem.h"
#include "base/str.h"

#include <stdlib.h>
#include <string.h>

/* Does word say "--name" or "--name=value"? Then *value is behind the '=', or NULL. */
static bool is_flag(const char *word, const char *flag, const char **value)
{
	size_t length = strlen(flag);
	if (length == 0 || strncmp(word, flag, length) != 0)
		return false;
	if (word[length] != '\0' && word[length] != '=')
		return false;
	*value = word[length] == '=' ? word + length + 1 : NULL;
	return true;
}

/* The flag a secret would have if it had one; with suffix "_FILE" its twin's. */
static bool is_secret_flag(const struct setting *setting, const char *prefix, const char *suffix,
			   const char *word, const char **value)
{
	char flag[SETTING_FLAG_MAX];
	if (setting->type != SETTING_SECRET)
		return false;
	char *name = mem_printf("%s%s", setting->env, suffix);
	struct setting as_text = {.env = name, .type = SETTING_TEXT};
	schema_flag(&as_text, prefix, flag, sizeof flag);
	free(name);
	return is_flag(word, flag, value);
}

/* Returns how many words of argv the flag takes: 2 with its value in the next one. */
static int find_value(char **argv, int left, const char **value)
{
	if (*value || left < 2 || str_has_prefix(argv[1], "--"))
		return 1;
	*value = argv[1];
	return 2;
}

static int take_secret(const struct config_source *source, char **argv, int left,
		       struct problems *problems)
{
	for (size_t i = 0; i < source->count; i++) {
		const struct setting *setting = &source->table[i];
		const char *value;
		if (!is_secret_flag(setting, source->flag_prefix, "", argv[0], &value) &&
		    !is_secret_flag(setting, source->flag_prefix, "_FILE", argv[0], &value))
			continue;
		problems_add(problems,
			     "%s (command line): secrets are not taken from the command line, "
			     "because everybody on this machine can read it: set %s in the "
			     "environment, or %s_FILE to the path of a file that holds it",
			     setting->env, setting->env, setting->env);
		return find_value(argv, left, &value);
	}
	return 0;
}

static int take_setting(const struct config_source *source, char **argv, int left,
			const char **values, struct problems *problems)
{
	for (size_t i = 0; i < source->count; i++) {
		char flag[SETTING_FLAG_MAX];
		const char *value;
		schema_flag(&source->table[i], source->flag_prefix, flag, sizeof flag);
		if (!is_flag(argv[0], flag, &value))
			continue;
		int taken = find_value(argv, left, &value);
		if (values[i] && *values[i])
			problems_add(problems, "%s (command line): given more than once", flag);
		else if (!value || !*value)
			problems_add(problems, "%s (command line): has no value", flag);
		values[i] = value ? value : "";
		return taken;
	}
	return 0;
}

void config_take_flags(const struct config_source *source, int *argc, char **argv,
		       const char **values, struct problems *problems)
{
	int kept = 1;
	int i = 1;
	if (*argc < 1) /* execve() may give no argv[0] */
		return;
	while (i < *argc && strcmp(argv[i], "--") != 0) {
		int taken = take_setting(source, argv + i, *argc - i, values, problems);
		if (taken == 0)
			taken = take_secret(source, argv + i, *argc - i, problems);
		if (taken == 0)
			argv[kept++] = argv[i++];
		i += taken;
	}
	while (i < *argc)
		argv[kept++] = argv[i++];
	if (kept < *argc)
		argv[kept] = NULL;
	*argc = kept;
}
