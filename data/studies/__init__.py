"""What a study is: parameters, spaces, trials, configurations, errors and files."""
