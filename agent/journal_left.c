/* Files that no row names: their command ended, or their answer was stored, in the moment in which the
 * agent died. They go at the next start. While a damaged database stands beside the new one they stay:
 * they may be its, and nothing of it is deleted. */
#include "agent/journal_inside.h"

#include "base/mem.h"
#include "base/str.h"
#include "crypto/digest.h"

#include <dirent.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DIGITS = SHA256_TEXT_SIZE - 1 };

/* Without the index all answers would be read to find those few. */
static const char NAMED[] =
    "SELECT command_file FROM commands WHERE command_file IS NOT NULL UNION ALL"
    " SELECT answer_file FROM answers INDEXED BY answers_in_files WHERE answer_file IS NOT NULL";

struct named {
	char *name;
	UT_hash_handle hh; /* by name */
};

static bool is_ours(const char *name)
{
	return strspn(name, "0123456789abcdef") == DIGITS &&
	       (name[DIGITS] == '\0' || strcmp(name + DIGITS, JOURNAL_TEXT_SUFFIX) == 0);
}

static bool has_damaged(const char *dir)
{
	DIR *folder = opendir(dir);
	bool any = folder == NULL; /* when in doubt */
	for (struct dirent *entry; folder != NULL && !any && (entry = readdir(folder)) != NULL;)
		any = str_has_prefix(entry->d_name, "journal.db.damaged-");
	if (folder != NULL)
		closedir(folder);
	return any;
}

static void add(struct named **all, const char *name)
{
	struct named *named;
	HASH_FIND_STR(*all, name, named);
	if (named != NULL)
		return;
	named = mem_new(struct named);
	named->name = mem_strdup(name);
	HASH_ADD_KEYPTR(hh, *all, named->name, strlen(named->name), named);
}

static void free_all(struct named *all)
{
	struct named *first = all;
	HASH_CLEAR(hh, first);
	for (struct named *next; all != NULL; all = next) {
		next = all->hh.next;
		free(all->name);
		free(all);
	}
}

/* False: they cannot be read. */
static bool read_names(const struct journal *journal, struct named **all)
{
	sqlite3_stmt *statement = NULL;
	int rc = sqlite3_prepare_v2(journal->store.db, NAMED, -1, &statement, NULL);
	while (rc == SQLITE_OK || rc == SQLITE_ROW) {
		if ((rc = sqlite3_step(statement)) == SQLITE_ROW)
			add(all, (const char *)sqlite3_column_text(statement, 0));
	}
	sqlite3_finalize(statement);
	return rc == SQLITE_DONE;
}

static void remove_others(DIR *folder, const struct named *all)
{
	for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
		const struct named *named = NULL;
		HASH_FIND_STR(all, entry->d_name, named);
		if (named == NULL && is_ours(entry->d_name))
			(void)unlinkat(dirfd(folder), entry->d_name, 0); /* tried again next time */
	}
}

static bool has_files(DIR *folder)
{
	bool any = false;
	for (struct dirent *entry; !any && (entry = readdir(folder)) != NULL;)
		any = is_ours(entry->d_name);
	rewinddir(folder);
	return any;
}

void journal_remove_left_files(struct journal *journal)
{
	struct named *all = NULL;
	DIR *folder = opendir(journal->store.folder);
	if (folder == NULL)
		return;
	if (has_files(folder) && !has_damaged(journal->settings->state_dir) &&
	    read_names(journal, &all))
		remove_others(folder, all);
	free_all(all);
	closedir(folder);
}
