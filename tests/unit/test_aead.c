#include "crypto/aead.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct aead *new_aead(const char *text)
{
	struct key key = {0};
	struct aead *aead;

	cr_assert_eq(key_parse(text, strlen(text), &key, NULL), 0);
	aead = aead_new(&key);
	key_release(&key); /* the aead has its own copy */
	return aead;
}

static const char key_text[] = "0123456789abcdef0123456789abcdef";

/* A sealed text of any size. */
struct sealed {
	uint8_t nonce[AEAD_NONCE_SIZE];
	uint8_t tag[AEAD_TAG_SIZE];
	uint8_t text[64];
	size_t size;
};

static struct sealed seal(struct aead *aead, const char *plain)
{
	struct sealed sealed = {.size = strlen(plain)};
	struct aead_seal *state = aead_seal_begin(aead, sealed.nonce);

	aead_seal_update(state, plain, sealed.size, sealed.text);
	aead_seal_finish(state, sealed.tag);
	aead_seal_free(state);
	return sealed;
}

static int open_sealed(struct aead *aead, const struct sealed *sealed, struct buf *out)
{
	return aead_open(aead, sealed->nonce, sizeof sealed->nonce, sealed->tag, sealed->text,
			 sealed->size, out, NULL);
}

Test(aead, what_was_sealed_opens)
{
	struct aead *aead = new_aead(key_text);
	struct sealed sealed = seal(aead, "a plain text");
	struct buf out = BUF_INIT(100);

	cr_assert_eq(buf_append_str(&out, "> "), 0);
	cr_assert_neq(memcmp(sealed.text, "a plain text", 12), 0);
	cr_assert_eq(open_sealed(aead, &sealed, &out), 0);
	cr_assert_str_eq(buf_str(&out), "> a plain text");
	buf_wipe(&out);
	aead_free(aead);
}

Test(aead, an_empty_text_is_sealed_too)
{
	struct aead *aead = new_aead(key_text);
	struct sealed sealed = seal(aead, "");
	struct buf out = BUF_INIT(0);

	cr_assert_eq(open_sealed(aead, &sealed, &out), 0);
	cr_assert_eq(out.size, 0);
	sealed.tag[0] ^= 1;
	cr_assert_eq(open_sealed(aead, &sealed, &out), ERR_AUTH);
	buf_release(&out);
	aead_free(aead);
}

Test(aead, any_change_is_found_and_nothing_is_handed_out)
{
	struct aead *aead = new_aead(key_text);
	struct aead *other = new_aead("0123456789abcdef0123456789abcdeg");
	const struct sealed good = seal(aead, "a plain text");
	struct buf out = BUF_INIT(100);
	struct error err = {0};

	cr_assert_eq(buf_append_str(&out, "kept"), 0);
	for (size_t bit = 0; bit < 8 * (AEAD_NONCE_SIZE + AEAD_TAG_SIZE + 12); bit++) {
		struct sealed bad = good;

		((uint8_t *)&bad)[bit / 8] ^= (uint8_t)(1 << bit % 8);
		cr_assert_eq(open_sealed(aead, &bad, &out), ERR_AUTH, "bit %zu", bit);
		cr_assert_eq(out.size, 4);
		cr_assert_str_eq(out.data, "kept");
		for (size_t i = 4; i < 16; i++)
			cr_assert_eq(out.data[i], 0, "plaintext was left in the room");
	}
	cr_assert_eq(open_sealed(other, &good, &out), ERR_AUTH);
	cr_assert_eq(aead_open(aead, good.nonce, sizeof good.nonce, good.tag, good.text,
			       good.size - 1, &out, &err),
		     ERR_AUTH);
	cr_assert_str_eq(err.message, "does not open with this key, nonce and tag");
	cr_assert_eq(open_sealed(aead, &good, &out), 0, "a failure leaves no trace in the key");
	cr_assert_str_eq(buf_str(&out), "kepta plain text");
	buf_wipe(&out);
	aead_free(aead);
	aead_free(other);
}

Test(aead, nonces_of_1_to_64_bytes_are_taken)
{
	struct aead *aead = new_aead(key_text);
	uint8_t nonce[65] = {1}, tag[AEAD_TAG_SIZE] = {0};
	struct buf out = BUF_INIT(100);
	struct error err = {0};

	for (size_t size = 1; size <= 64; size++)
		cr_assert_eq(aead_open(aead, nonce, size, tag, "x", 1, &out, &err), ERR_AUTH);
	cr_assert_eq(aead_open(aead, nonce, 0, tag, "x", 1, &out, &err), ERR_INVALID);
	cr_assert_eq(aead_open(aead, nonce, 65, tag, "x", 1, &out, &err), ERR_INVALID);
	cr_assert_str_eq(err.message, "nonce: 65 bytes, must be 1 to 64");
	cr_assert_eq(out.size, 0);
	buf_release(&out);
	aead_free(aead);
}

Test(aead, the_nonce_is_a_new_one_each_time)
{
	enum { MANY = 100 }; /* more than are drawn at once */
	struct aead *aead = new_aead(key_text);
	struct sealed all[MANY];

	for (size_t i = 0; i < MANY; i++) {
		all[i] = seal(aead, "same");
		for (size_t j = 0; j < i; j++) {
			cr_assert_neq(memcmp(all[i].nonce, all[j].nonce, sizeof all[i].nonce), 0);
			cr_assert_neq(memcmp(all[i].text, all[j].text, 4), 0);
		}
	}
	aead_free(aead);
}

Test(aead, seals_of_one_key_may_be_interleaved_and_in_place)
{
	struct aead *aead = new_aead(key_text);
	struct sealed a = {.text = "first text", .size = 10}, b = {.text = "second", .size = 6};
	struct aead_seal *left = aead_seal_begin(aead, a.nonce);
	struct aead_seal *right = aead_seal_begin(aead, b.nonce);
	struct buf out = BUF_INIT(100);

	aead_seal_update(left, a.text, 3, a.text);
	aead_seal_update(right, b.text, 6, b.text);
	aead_seal_update(left, a.text + 3, 7, a.text + 3);
	aead_seal_update(left, "", 0, NULL);
	aead_seal_finish(right, b.tag);
	aead_seal_finish(left, a.tag);
	aead_seal_free(left);
	aead_seal_free(right);
	cr_assert_eq(open_sealed(aead, &a, &out), 0);
	cr_assert_eq(open_sealed(aead, &b, &out), 0);
	cr_assert_str_eq(buf_str(&out), "first textsecond");
	buf_wipe(&out);
	aead_free(aead);
}

Test(aead, an_unfinished_seal_may_be_freed_and_leaves_nothing_behind)
{
	struct aead *aead = new_aead(key_text);
	struct buf out = BUF_INIT(100);
	uint8_t nonce[AEAD_NONCE_SIZE], text[1];
	struct aead_seal *state = aead_seal_begin(aead, nonce);

	aead_seal_update(state, "x", 1, text);
	aead_seal_free(state);
	aead_seal_free(NULL);
	struct sealed next = seal(aead, "the next one");
	cr_assert_eq(open_sealed(aead, &next, &out), 0);
	cr_assert_str_eq(buf_str(&out), "the next one");
	buf_release(&out);
	aead_free(aead);
	aead_free(NULL);
}

Test(aead, a_plaintext_larger_than_the_room_is_refused)
{
	struct aead *aead = new_aead(key_text);
	struct sealed sealed = seal(aead, "a plain text");
	struct buf out = BUF_INIT(11);

	cr_assert_eq(open_sealed(aead, &sealed, &out), ERR_LIMIT);
	cr_assert_eq(out.size, 0);
	buf_release(&out);
	aead_free(aead);
}
