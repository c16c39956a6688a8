#include "base/file.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* A directory of the test's own; removed with what the tests put there. */
struct place {
	char directory[64];
	char path[100];
};

static struct place place_new(void)
{
	struct place place = {.directory = "/tmp/test-file-XXXXXX"};

	cr_assert_not_null(mkdtemp(place.directory));
	snprintf(place.path, sizeof place.path, "%s/file", place.directory);
	return place;
}

static void place_remove(const struct place *place)
{
	(void)unlink(place->path);
	cr_assert_eq(rmdir(place->directory), 0, "something else was left in the directory");
}

Test(file, what_is_written_is_read_again)
{
	struct place place = place_new();
	struct buf out = BUF_INIT(100);
	struct stat info;

	cr_assert_eq(buf_append_str(&out, "before "), 0);
	cr_assert_eq(file_write_atomic(place.path, "a\0b", 3, 0640, NULL), 0);
	cr_assert_eq(file_read(place.path, &out, NULL), 0);
	cr_assert_eq(out.size, 10);
	cr_assert_arr_eq(out.data, "before a\0b", 11);
	cr_assert_eq(stat(place.path, &info), 0);
	cr_assert_eq(info.st_mode & 07777, 0640);
	buf_release(&out);
	place_remove(&place);
}

Test(file, writing_again_replaces_the_file)
{
	struct place place = place_new();
	struct buf out = BUF_INIT(100);

	cr_assert_eq(file_write_atomic(place.path, "a longer one", 12, 0600, NULL), 0);
	cr_assert_eq(file_write_atomic(place.path, "new", 3, 0600, NULL), 0);
	cr_assert_eq(file_read(place.path, &out, NULL), 0);
	cr_assert_str_eq(buf_str(&out), "new");
	buf_release(&out);
	place_remove(&place);
}

Test(file, a_write_that_fails_leaves_nothing_behind)
{
	struct place place = place_new();
	struct error err = {0};

	/* A directory cannot be renamed over. */
	cr_assert_eq(mkdir(place.path, 0700), 0);
	cr_assert_eq(file_write_atomic(place.path, "x", 1, 0600, &err), ERR_SYSTEM);
	cr_assert_not_null(strstr(err.message, place.path));
	cr_assert_eq(rmdir(place.path), 0);
	place_remove(&place);
	cr_assert_eq(file_write_atomic("/nonexistent/x", "x", 1, 0600, &err), ERR_SYSTEM);
	cr_assert_eq(err.os_errno, ENOENT);
}

Test(file, a_file_may_be_exactly_as_large_as_the_room)
{
	struct place place = place_new();
	struct buf out = BUF_INIT(5);

	cr_assert_eq(file_write_atomic(place.path, "12345", 5, 0600, NULL), 0);
	cr_assert_eq(file_read(place.path, &out, NULL), 0);
	cr_assert_str_eq(buf_str(&out), "12345");
	buf_release(&out);
	place_remove(&place);
}

Test(file, a_file_that_is_too_large_leaves_the_buffer_as_it_was)
{
	struct place place = place_new();
	struct buf out = BUF_INIT(5);
	struct error err = {0};

	cr_assert_eq(file_write_atomic(place.path, "12345", 5, 0600, NULL), 0);
	cr_assert_eq(buf_append_str(&out, "a"), 0);
	cr_assert_eq(file_read(place.path, &out, &err), ERR_LIMIT);
	cr_assert_not_null(strstr(err.message, "larger than 5 bytes"));
	cr_assert_str_eq(buf_str(&out), "a");
	cr_assert_eq(buf_append_str(&out, "bcde"), 0);
	buf_release(&out);
	place_remove(&place);
}

Test(file, a_file_of_many_reads_is_read_whole)
{
	struct place place = place_new();
	struct buf out = BUF_INIT(1 << 20);
	size_t size = 300001;
	char *bytes = malloc(size);

	for (size_t i = 0; i < size; i++)
		bytes[i] = (char)(i * 7);
	cr_assert_eq(file_write_atomic(place.path, bytes, size, 0600, NULL), 0);
	cr_assert_eq(file_read(place.path, &out, NULL), 0);
	cr_assert_eq(out.size, size);
	cr_assert_eq(memcmp(out.data, bytes, size), 0);
	free(bytes);
	buf_release(&out);
	place_remove(&place);
}

Test(file, an_empty_file_is_an_empty_text)
{
	struct place place = place_new();
	struct buf out = BUF_INIT(10);

	cr_assert_eq(file_write_atomic(place.path, NULL, 0, 0600, NULL), 0);
	cr_assert_eq(file_read(place.path, &out, NULL), 0);
	cr_assert_str_eq(buf_str(&out), "");
	buf_release(&out);
	place_remove(&place);
}

Test(file, a_file_that_is_not_there_is_told_from_other_errors)
{
	struct buf out = BUF_INIT(10);
	struct error err = {0};

	cr_assert_eq(file_read("/nonexistent/file", &out, &err), ERR_NOT_FOUND);
	cr_assert_eq(err.code, ERR_NOT_FOUND);
	cr_assert_str_eq(err.message, "reading /nonexistent/file: No such file or directory");
	cr_assert_null(out.data);
}

Test(file, directories_and_devices_are_errors, .timeout = 5)
{
	struct buf out = BUF_INIT(10);
	struct error err = {0};

	cr_assert_eq(file_read("/tmp", &out, &err), ERR_SYSTEM);
	cr_assert_str_eq(err.message, "reading /tmp: is a directory, not a file");
	cr_assert_eq(file_read("/dev/zero", &out, &err), ERR_SYSTEM);
	cr_assert_not_null(strstr(err.message, "a device"));
	cr_assert_null(out.data);
}

Test(file, a_fifo_is_read_to_its_end, .timeout = 10)
{
	struct place place = place_new();
	struct buf out = BUF_INIT(100);
	pid_t writer;

	cr_assert_eq(mkfifo(place.path, 0600), 0);
	writer = fork();
	if (writer == 0) {
		int fd = open(place.path, O_WRONLY);

		(void)!write(fd, "abc", 3);
		(void)!write(fd, "def", 3);
		_exit(0);
	}
	cr_assert_eq(file_read(place.path, &out, NULL), 0);
	cr_assert_str_eq(buf_str(&out), "abcdef");
	cr_assert_eq(waitpid(writer, NULL, 0), writer);
	buf_release(&out);
	place_remove(&place);
}

Test(file, a_dash_is_standard_input, .timeout = 10)
{
	struct buf out = BUF_INIT(100);
	int ends[2];

	cr_assert_eq(pipe(ends), 0);
	cr_assert_eq(file_write_all(ends[1], "from a pipe", 11, NULL), 0);
	close(ends[1]);
	cr_assert_eq(dup2(ends[0], STDIN_FILENO), STDIN_FILENO);
	close(ends[0]);
	cr_assert_eq(file_read("-", &out, NULL), 0);
	cr_assert_str_eq(buf_str(&out), "from a pipe");
	buf_release(&out);
}

Test(file, writing_to_a_bad_descriptor_is_an_error)
{
	struct error err = {0};

	cr_assert_eq(file_write_all(-1, "x", 1, &err), ERR_SYSTEM);
	cr_assert_eq(err.os_errno, EBADF);
	cr_assert_eq(file_write_all(-1, "", 0, &err), 0, "nothing to write is written");
}
