echo "$WORDS, at {{ run_id }}"
