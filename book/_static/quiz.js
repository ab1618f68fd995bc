// Counts the questions that are answered right, and says so to those who listen.
document.addEventListener("DOMContentLoaded", () => {
  for (const quiz of document.querySelectorAll(".quiz")) {
    quiz.addEventListener("change", () => {
      const asked = quiz.querySelectorAll("fieldset").length;
      const right = quiz.querySelectorAll('input:checked[data-quiz="right"]').length;
      quiz.querySelector(".quiz-count").textContent = `${right} of ${asked} right`;
    });
  }
});
