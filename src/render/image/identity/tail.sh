
exit "$failed"
