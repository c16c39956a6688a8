#include "service/usage.h"

#include <stdio.h>
#include <string.h>

bool usage_wants_help(int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
			return true;
	}
	return false;
}

static void remove_words(int *argc, char **argv, int at, int count)
{
	for (int i = at; i + count <= *argc; i++)
		argv[i] = argv[i + count]; /* argv[argc] is NULL */
	*argc -= count;
}

bool usage_take_switch(int *argc, char **argv, const char *flag)
{
	bool was_there = false;
	for (int i = 1; i < *argc;) {
		if (strcmp(argv[i], flag) != 0) {
			i++;
			continue;
		}
		was_there = true;
		remove_words(argc, argv, i, 1);
	}
	return was_there;
}

/* How many words the flag takes at i: 0 when it is not there. */
static int take_one(int argc, char **argv, int i, const struct usage_word *word,
		    struct problems *problems)
{
	size_t length = strlen(word->flag);
	if (strncmp(argv[i], word->flag, length) != 0)
		return 0;
	if (argv[i][length] == '=') {
		*word->value = argv[i] + length + 1;
		return 1;
	}
	if (argv[i][length] != '\0')
		return 0;
	if (i + 1 == argc || strncmp(argv[i + 1], "--", 2) == 0) {
		problems_add(problems, "%s (command line): has no value", word->flag);
		return 1;
	}
	*word->value = argv[i + 1];
	return 2;
}

void usage_take(int *argc, char **argv, const struct usage_word *known, struct problems *problems)
{
	for (int i = 1; i < *argc;) {
		int taken = 0;
		for (size_t n = 0; known[n].flag && taken == 0; n++)
			taken = take_one(*argc, argv, i, &known[n], problems);
		if (taken > 0)
			remove_words(argc, argv, i, taken);
		else
			i++;
	}
}

void usage_check_rest(int argc, char **argv, int first, struct problems *problems)
{
	for (int i = first; i < argc; i++)
		problems_add(problems, "%s (command line): not known here: see --help", argv[i]);
}

bool usage_report(struct problems *problems)
{
	bool has_any = problems->count > 0;
	struct buf text = BUF_INIT(64 * 1024);
	problems_join(problems, "\ncommand-service: ", &text);
	if (has_any)
		(void)fprintf(stderr, "command-service: %s\n", buf_str(&text));
	buf_release(&text);
	problems_release(problems);
	return has_any;
}
