#include "agent/spool.h"
#include "crypto/random.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LARGE = 3 * SPOOL_MEMORY_BYTES + 12345 };

static char folder[] = "/tmp/relay-spool-XXXXXX";
static char *content;

static void set_up(void)
{
	cr_assert_not_null(mkdtemp(folder));
	content = malloc(LARGE);
	for (size_t i = 0; i < LARGE; i++)
		content[i] = (char)('a' + i % 23);
}

static void tear_down(void)
{
	spool_clean(folder);
	free(content);
	rmdir(folder);
}

TestSuite(spool, .init = set_up, .fini = tear_down);

static int files_in_folder(void)
{
	DIR *dir = opendir(folder);
	int count = 0;
	for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
		count += entry->d_name[0] != '.';
	closedir(dir);
	return count;
}

static void fill(struct spool *spool, size_t size, size_t step)
{
	struct error err;
	for (size_t at = 0; at < size; at += step)
		cr_assert_eq(
		    spool_append(spool, content + at, size - at < step ? size - at : step, &err),
		    0);
	cr_assert_eq(spool->size, size);
}

/* Twice, since an upload may have to be repeated. */
static void check(struct spool *spool, size_t size)
{
	struct error err;
	char *got = malloc(size + 1);
	for (int times = 0; times < 2; times++) {
		size_t total = 0, count = 1;
		spool_rewind(spool);
		for (; count > 0; total += count)
			cr_assert_eq(spool_read(spool, got + total,
						size + 1 - total < 10007 ? size + 1 - total : 10007,
						&count, &err),
				     0);
		cr_assert_eq(total, size);
		cr_assert_arr_eq(got, content, size);
	}
	free(got);
}

Test(spool, small_content_stays_in_memory)
{
	struct spool spool;
	spool_init(&spool, SPOOL_SCRATCH, folder, SIZE_MAX / 2);
	fill(&spool, SPOOL_MEMORY_BYTES, 4096);
	cr_assert_not(spool_is_file(&spool));
	cr_assert_eq(spool_memory(&spool)->size, SPOOL_MEMORY_BYTES);
	check(&spool, SPOOL_MEMORY_BYTES);
	spool_release(&spool);
}

Test(spool, large_content_goes_to_a_file_without_a_name_and_comes_back)
{
	struct spool spool;
	spool_init(&spool, SPOOL_SCRATCH, folder, SIZE_MAX / 2);
	fill(&spool, LARGE, 16000);
	cr_assert(spool_is_file(&spool));
	cr_assert_eq(files_in_folder(), 0);
	check(&spool, LARGE);
	spool_release(&spool);
}

Test(spool, a_scratch_file_holds_no_plain_text)
{
	struct spool spool;
	struct error err;
	char head[64];
	spool_init(&spool, SPOOL_SCRATCH, folder, SIZE_MAX / 2);
	fill(&spool, LARGE, 16000);
	cr_assert_eq(pread(spool.fd, head, sizeof head, 0), (ssize_t)sizeof head);
	cr_assert_arr_neq(head, content, sizeof head);
	spool_rewind(&spool);
	size_t count;
	cr_assert_eq(spool_read(&spool, head, sizeof head, &count, &err), 0);
	cr_assert_arr_eq(head, content, sizeof head);
	spool_release(&spool);
}

Test(spool, a_kept_file_gets_its_name_when_it_is_durable_and_can_be_opened_again)
{
	struct spool spool, again;
	struct error err;
	char path[128];
	snprintf(path, sizeof path, "%s/answer", folder);
	spool_init(&spool, SPOOL_KEPT, folder, SIZE_MAX / 2);
	fill(&spool, LARGE, 16000);
	cr_assert_neq(access(path, F_OK), 0);
	cr_assert_eq(spool_keep(&spool, path, &err), 0);
	cr_assert_eq(spool_keep(&spool, path, &err), 0);
	check(&spool, LARGE);
	spool_release(&spool);
	cr_assert_eq(spool_open(&again, path, &err), 0);
	check(&again, LARGE);
	spool_release(&again);
	struct stat info;
	cr_assert_eq(stat(path, &info), 0);
	cr_assert_eq(info.st_mode & 0777, 0600);
	unlink(path);
}

Test(spool, a_file_that_was_not_kept_goes)
{
	struct spool spool;
	spool_init(&spool, SPOOL_KEPT, folder, SIZE_MAX / 2);
	fill(&spool, LARGE, 16000);
	cr_assert_eq(files_in_folder(), 1);
	spool_release(&spool);
	cr_assert_eq(files_in_folder(), 0);
}

Test(spool, what_a_killed_process_left_is_cleaned_away_and_nothing_else)
{
	struct spool spool;
	char path[128];
	snprintf(path, sizeof path, "%s/answer", folder);
	spool_init(&spool, SPOOL_KEPT, folder, SIZE_MAX / 2);
	fill(&spool, LARGE, 16000);
	fclose(fopen(path, "w"));
	spool_clean(folder);
	cr_assert_eq(files_in_folder(), 1);
	cr_assert_eq(access(path, F_OK), 0);
	spool_release(&spool);
	unlink(path);
}

Test(spool, past_its_ceiling_it_takes_nothing)
{
	struct spool spool;
	struct error err;
	spool_init(&spool, SPOOL_SCRATCH, folder, 1000);
	fill(&spool, 1000, 100);
	cr_assert_eq(spool_append(&spool, "x", 1, &err), ERR_LIMIT);
	check(&spool, 1000);
	spool_release(&spool);
}

/* A disk that is full is played by a ceiling on file sizes. */
Test(spool, a_disk_that_takes_no_more_costs_memory_and_loses_nothing)
{
	struct rlimit limit = {.rlim_cur = 2 * SPOOL_MEMORY_BYTES, .rlim_max = RLIM_INFINITY};
	signal(SIGXFSZ, SIG_IGN);
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	for (int kind = SPOOL_SCRATCH; kind <= SPOOL_KEPT; kind++) {
		struct spool spool;
		spool_init(&spool, (enum spool_kind)kind, folder, SIZE_MAX / 2);
		fill(&spool, LARGE, 16000);
		cr_assert_not(spool_is_file(&spool));
		check(&spool, LARGE);
		spool_release(&spool);
	}
	cr_assert_eq(files_in_folder(), 0);
}

Test(spool, without_a_folder_or_with_one_that_is_missing_all_stays_in_memory)
{
	static const char *const folders[] = {NULL, "/nowhere/at/all"};
	for (size_t i = 0; i < 2; i++) {
		for (int kind = SPOOL_SCRATCH; kind <= SPOOL_KEPT; kind++) {
			struct spool spool;
			spool_init(&spool, (enum spool_kind)kind, folders[i], SIZE_MAX / 2);
			fill(&spool, LARGE, 16000);
			cr_assert_not(spool_is_file(&spool));
			check(&spool, LARGE);
			spool_release(&spool);
		}
	}
}

Test(spool, it_knows_whether_the_whole_is_utf_8_wherever_it_was_cut)
{
	for (int is_broken = 0; is_broken < 2; is_broken++) {
		struct spool spool;
		struct error err;
		spool_init(&spool, SPOOL_SCRATCH, folder, SIZE_MAX / 2);
		for (size_t size = 0; size < LARGE; size += 8)
			cr_assert_eq(spool_append(&spool, "a\xF0\x9F\x98\x80\xC3\xABz", 8, &err),
				     0);
		if (is_broken)
			cr_assert_eq(spool_append(&spool, "\xC3", 1, &err), 0);
		cr_assert(spool_is_file(&spool));
		cr_assert_eq(spool_is_utf8(&spool), !is_broken);
		spool_release(&spool);
	}
}

Test(spool, pieces_are_whole_until_the_last)
{
	struct spool spool;
	struct error err;
	struct buf scratch = BUF_INIT(SPOOL_PIECE_BYTES);
	const char *bytes;
	size_t count, total = 0;
	spool_init(&spool, SPOOL_SCRATCH, folder, SIZE_MAX / 2);
	fill(&spool, LARGE, 16000);
	spool_rewind(&spool);
	do {
		cr_assert_eq(spool_next(&spool, &scratch, &bytes, &count, &err), 0);
		cr_assert_arr_eq(bytes, content + total, count);
		total += count;
	} while (count == SPOOL_PIECE_BYTES);
	cr_assert_eq(total, LARGE);
	buf_release(&scratch);
	spool_release(&spool);
}
