(** # Negatives from the batch

The chapter on negatives from the batch: ML-CPC, as every program computes it, is a lower bound far
below [alpha = 1]. Notation of the page: [a = (n - 1) / 2] rounded down, [b = n - 1 - a], and [tau]
is any weight that is valid for [b + 1] candidates. *)
From MLCPC Require Import binomial.
From MLCPC Require Export boundary.
Open Scope R_scope.

(** ## Exchangeability of a board

[S0] is a function of the whole batch that does not see its order: it will be [1/Z]. *)
Section Boards.
Context {A : Type}.
Variables (l : list A) (w : A -> R).

Variable S0 : list A -> R.
Hypothesis S0_perm : forall t t', Permutation t t' -> S0 t = S0 t'.

(** The mean of one cell off the diagonal, and of one on it, each times [S0] of the batch. *)
Definition off_diagonal (f : A -> A -> R) k := sum l (fun z => w z * sum l (fun z' => w z' *
  E l w k (fun t => S0 (z :: z' :: t) * f z z'))).
Definition diagonal (f : A -> A -> R) k := sum l (fun z => w z * E l w k (fun t => S0 (z :: t) * f z z)).

(** A cell off the diagonal and its mirror image have the same mean. *)
Lemma off_diagonal_transposed f k : off_diagonal (fun z z' => f z' z) k = off_diagonal f k.
Proof.
  unfold off_diagonal.
  rewrite (sum_ext l _ (fun z => sum l (fun z' => w z * (w z' *
    E l w k (fun t => S0 (z :: z' :: t) * f z' z)))))
    by (intros z _; rewrite sum_scal; reflexivity).
  rewrite sum_swap. apply sum_ext; intros z _. rewrite <- sum_scal.
  apply sum_ext; intros z' _.
  rewrite (E_ext l w k (fun t => S0 (z' :: z :: t) * f z z') (fun t => S0 (z :: z' :: t) * f z z'));
    [ring|]. intros t _. f_equal. apply S0_perm. constructor.
Qed.

(** The cells of one anchor with the letters of a group, and of a group with one letter. *)
Lemma off_right f a b :
  sum l (fun z => w z * E l w a (fun s => E l w b (fun t => S0 (z :: s ++ t) * sum t (f z))))
  = INR b * off_diagonal f (a + b - 1).
Proof.
  destruct b as [|b].
  - simpl. rewrite Rmult_0_l. transitivity (sum l (fun _ => 0)); [|apply sum_0].
    apply sum_ext; intros z _.
    rewrite (E_ext l w a _ (fun _ => 0 * 0)) by (intros; ring). rewrite E_scal. ring.
  - unfold off_diagonal. rewrite <- sum_scal. apply sum_ext; intros z _.
    rewrite E_comm.
    rewrite (E_ext l w (S b) _ (fun t => sum t (fun z' => E l w a (fun s => S0 (z :: s ++ t) * f z z')))).
    2:{ intros t _. rewrite <- E_sum. apply E_ext; intros s _. rewrite sum_scal. reflexivity. }
    rewrite (E_pick l w b (fun z' t => E l w a (fun s => S0 (z :: s ++ t) * f z z'))).
    2:{ intros z' t t' Ht. apply E_ext; intros s _. f_equal. apply S0_perm.
        constructor. apply Permutation_app_head. exact Ht. }
    rewrite <- Rmult_assoc, (Rmult_comm (w z)), Rmult_assoc. f_equal. f_equal.
    apply sum_ext; intros z' _. f_equal.
    replace (a + S b - 1)%nat with (a + b)%nat by lia.
    rewrite E_app, E_comm. apply E_ext; intros t _. apply E_ext; intros s _. f_equal.
    apply S0_perm. constructor. symmetry. apply Permutation_middle.
Qed.

Lemma off_left f a b :
  sum l (fun z => w z * E l w a (fun s => E l w b (fun t => S0 (z :: s ++ t) * sum s (fun z' => f z' z))))
  = INR a * off_diagonal f (a + b - 1).
Proof.
  rewrite <- (off_diagonal_transposed f), (Nat.add_comm a b).
  rewrite <- (off_right (fun z z' => f z' z) b a).
  apply sum_ext; intros z _. f_equal. rewrite E_comm.
  apply E_ext; intros t _. apply E_ext; intros s _. f_equal.
  apply S0_perm. constructor. apply Permutation_app_comm.
Qed.

(** All cells off the diagonal, and all on it. *)
Lemma off_all f k : E l w (S k) (fun t => S0 t * sum t (fun z => sum t (f z) - f z z))
  = INR (S k) * (INR k * off_diagonal f (k - 1)).
Proof.
  rewrite (E_ext l w (S k) _ (fun t => sum t (fun z => S0 t * (sum t (f z) - f z z))))
    by (intros t _; rewrite sum_scal; reflexivity).
  rewrite (E_pick l w k (fun z t => S0 t * (sum t (f z) - f z z))).
  2:{ intros z t t' Ht. rewrite (S0_perm _ _ Ht), (sum_perm _ _ _ Ht). reflexivity. }
  f_equal. change (k - 1)%nat with (0 + k - 1)%nat. rewrite <- (off_right f 0 k). apply sum_ext; intros z _. f_equal.
  simpl. apply E_ext; intros t _. ring.
Qed.

Lemma diag_all f k : E l w (S k) (fun t => S0 t * sum t (fun z => f z z)) = INR (S k) * diagonal f k.
Proof.
  rewrite (E_ext l w (S k) _ (fun t => sum t (fun z => S0 t * f z z)))
    by (intros t _; rewrite sum_scal; reflexivity).
  rewrite (E_pick l w k (fun z t => S0 t * f z z)); [reflexivity|].
  intros z t t' Ht. rewrite (S0_perm _ _ Ht). reflexivity.
Qed.

(** The sub-board of z0, s, t. *)
Definition board (f : A -> A -> R) tau be z0 s t :=
  tau * sum (z0 :: s) (fun z => f z z0) + be * sum t (fun z' => sum (z0 :: s) (fun z => f z z')).

(** The mean of a sub-board: how often it shows a cell of either kind. *)
Lemma mean_board f tau be a b :
  sum l (fun z0 => w z0 * E l w a (fun s => E l w b (fun t => S0 (z0 :: s ++ t) * board f tau be z0 s t)))
  = tau * diagonal f (a + b) + (tau * INR a + be * (INR (S a) * INR b)) * off_diagonal f (a + b - 1).
Proof.
  assert (H3 : sum l (fun z0 => w z0 * E l w a (fun s => E l w b (fun t => S0 (z0 :: s ++ t) *
      sum t (fun z' => sum (z0 :: s) (fun z => f z z')))))
    = INR (S a) * (INR b * off_diagonal f (a + b - 1))).
  { change (E l w (S a) (fun s => E l w b (fun t => S0 (s ++ t) *
      sum t (fun z' => sum s (fun z => f z z')))) = INR (S a) * (INR b * off_diagonal f (a + b - 1))).
    rewrite (E_ext l w (S a) _ (fun s => sum s (fun z => E l w b (fun t => S0 (s ++ t) * sum t (f z))))).
    2:{ intros s _. rewrite <- E_sum. apply E_ext; intros t _. rewrite sum_scal, sum_swap. reflexivity. }
    rewrite (E_pick l w a (fun z s => E l w b (fun t => S0 (s ++ t) * sum t (f z)))).
    2:{ intros z s s' Hs. apply E_ext; intros t _. f_equal. apply S0_perm.
        apply Permutation_app_tail. exact Hs. }
    f_equal. rewrite <- (off_right f a b). reflexivity. }
  rewrite Rmult_plus_distr_r.
  replace (be * (INR (S a) * INR b) * off_diagonal f (a + b - 1))
    with (be * (INR (S a) * (INR b * off_diagonal f (a + b - 1)))) by ring.
  rewrite Rmult_assoc, <- H3, <- (off_left f a b). unfold diagonal.
  rewrite <- !sum_scal, <- !sum_plus. apply sum_ext; intros z _.
  rewrite E_app.
  match goal with |- _ = ?t * (?x * ?A) + (?t * (?x * ?B) + ?u * (?x * ?C)) =>
    transitivity (x * (t * A + (t * B + u * C))); [f_equal|ring] end.
  rewrite <- !E_scal, <- !E_plus. apply E_ext; intros s _.
  rewrite <- !E_scal, <- !E_plus. apply E_ext; intros t _.
  unfold board. simpl sum. ring.
Qed.
End Boards.

Section Joint.
Context {X Y : Type}.
Variables (xs : list X) (ys : list Y) (p : X -> Y -> R).
Hypothesis p_table : table xs ys p.
Notation px := (mutual_information.px ys p).
Notation py := (mutual_information.py xs p).
Notation cells := (mutual_information.cells xs ys).
Notation P := (mutual_information.P p).
Notation Q := (mutual_information.Q xs ys p).
Notation p_nonneg := (mutual_information.p_nonneg xs ys p p_table).
Notation p_sum := (mutual_information.p_sum xs ys p p_table).
Notation px_nonneg := (mutual_information.px_nonneg xs ys p p_table).
Notation py_nonneg := (mutual_information.py_nonneg xs ys p p_table).
Notation px_sum := (mutual_information.px_sum xs ys p p_table).
Notation py_sum := (mutual_information.py_sum xs ys p p_table).
Notation P_nonneg := (mutual_information.P_nonneg xs ys p p_table).
Notation Q_nonneg := (mutual_information.Q_nonneg xs ys p p_table).
Notation P_sum := (mutual_information.P_sum xs ys p p_table).
Notation Q_sum := (mutual_information.Q_sum xs ys p p_table).

(** ## One sub-board is a lower bound

[conditional x y] is p(y | x), and [mean_log x] the mean over it of the log ratio. *)
Definition conditional x y := p x y * / px x.

Lemma conditional_nonneg x y : 0 <= conditional x y.
Proof.
  unfold conditional. destruct (px_nonneg x) as [H|H].
  - apply Rmult_le_pos; [apply p_nonneg|left; apply Rinv_0_lt_compat, H].
  - rewrite <- H, Rinv_0. lra.
Qed.

Lemma conditional_eq x y : In y ys -> p x y = px x * conditional x y.
Proof.
  intros Hy. unfold conditional. destruct (px_nonneg x) as [H|H].
  - field. lra.
  - assert (p x y = 0); [|rewrite H0; ring].
    apply (px_zero xs ys p p_table x y Hy). symmetry; exact H.
Qed.

Lemma conditional_sum x : 0 < px x -> sum ys (conditional x) = 1.
Proof. intros H. unfold conditional. rewrite sum_scal_r. fold (px x). apply Rinv_r. lra. Qed.

Definition mean_log x := sum ys (fun y => conditional x y * ln (conditional x y / py y)).

Lemma I_mean_log : I xs ys p = sum xs (fun x => px x * mean_log x).
Proof.
  unfold mutual_information.I. apply sum_ext; intros x _. unfold mean_log. rewrite <- sum_scal.
  apply sum_ext; intros y Hy. rewrite <- Rmult_assoc, <- (conditional_eq x y Hy). do 2 f_equal.
  unfold conditional, Rdiv. rewrite Rinv_mult. ring.
Qed.

(** `lem-sub-board`: the pair (x0, y0) from P, [a] more anchors from p(x), [b] more letters from p(y). *)
Definition sub_board a b tau (g : X -> Y -> R) := sum xs (fun x0 => sum ys (fun y0 => p x0 y0 *
  E xs px a (fun s => E ys py b (fun t =>
    ln (INR (S a) * INR (b + 1) * g x0 y0 /
       (tau * sum (x0 :: s) (fun x => g x y0)
        + beta (b + 1) tau * sum t (fun y => sum (x0 :: s) (fun x => g x y)))))))).

Section Sub.
Variables (a b : nat) (tau : R) (g : X -> Y -> R).
Hypothesis Hb : (1 <= b)%nat.
Hypothesis HV : valid (b + 1) tau.
Hypothesis Htau : 0 < tau <= INR (b + 1).
Hypothesis g_pos : critic g.

Let G s y := sum s (fun x : X => g x y).
Let Psi x s y := E ys py b (fun t =>
  ln (INR (S a) * INR (b + 1) * g x y / (tau * G s y + beta (b + 1) tau * sum t (G s)))).
Let H x s := sum ys (fun y => conditional x y * Psi x s y).

Lemma G_pos s y : length s = S a -> 0 < G s y.
Proof.
  destruct s as [|x s]; [discriminate|]. intros _. unfold G. simpl.
  pose proof (g_pos x y). assert (0 <= sum s (fun x => g x y)); [|lra].
  apply sum_nonneg; intros; left; apply g_pos.
Qed.

(** The column: [Phi <= 1] for the law of the column sums [G]. *)
Lemma row_bound s : length s = S a ->
  sum s (fun x => sum ys (fun y => py y * exp (Psi x s y))) <= INR (S a).
Proof.
  intros Hs. assert (HN : 0 < INR (S a)) by (apply lt_0_INR; lia).
  assert (Hm : (2 <= b + 1)%nat) by lia.
  assert (HM : 0 < INR (b + 1)) by (apply lt_0_INR; lia).
  assert (HL : law ys py (G s)).
  { repeat split; [apply py_nonneg; assumption|apply py_sum; assumption|].
    intros y. apply G_pos, Hs. }
  pose proof (HV Y ys py (G s) HL) as HP. rewrite Phi_alt in HP by assumption.
  replace (b + 1 - 1)%nat with b in HP by lia.
  rewrite sum_swap.
  apply Rmult_le_compat_l with (r := INR (S a)) in HP; [|lra].
  rewrite Rmult_1_r, <- sum_scal in HP. eapply Rle_trans; [|exact HP].
  right. apply sum_ext; intros y _.
  set (EE := E ys py b (fun t => ln (INR (b + 1) * G s y / (tau * G s y + beta (b + 1) tau * sum t (G s))))).
  assert (HG := G_pos s y Hs).
  rewrite (sum_ext s _ (fun x => (py y * INR (S a) / G s y * exp EE) * g x y)).
  - rewrite sum_scal. fold (G s y). field. lra.
  - intros x _. assert (Hgx := g_pos x y).
    replace (exp (Psi x s y)) with (INR (S a) * g x y / G s y * exp EE); [field; lra|].
    assert (Hq : 0 < INR (S a) * g x y / G s y)
      by (apply Rdiv_lt_0_compat; [apply Rmult_lt_0_compat; assumption|exact HG]).
    rewrite <- (exp_ln (INR (S a) * g x y / G s y)) by exact Hq.
    rewrite <- exp_plus. f_equal. unfold EE, Psi.
    rewrite <- (E_const ys py (py_sum) b (ln (INR (S a) * g x y / G s y))).
    rewrite <- E_plus. apply E_ext; intros t _.
    assert (HD : 0 < tau * G s y + beta (b + 1) tau * sum t (G s)).
    { apply (den_pos (G s) (b + 1) tau y t Hm Htau). intros y'. apply G_pos, Hs. }
    cbv beta.
    rewrite <- ln_mult; [f_equal; field; lra|exact Hq|].
    apply Rdiv_lt_0_compat; [apply Rmult_lt_0_compat; assumption|exact HD].
Qed.

(** The row: Gibbs' inequality for the planted row. *)
Lemma row_gibbs s : length s = S a -> Forall (fun x => In x xs /\ 0 < px x) s ->
  sum s (fun x => H x s) <= sum s mean_log.
Proof.
  intros Hs HF. assert (HN : 0 < INR (S a)) by (apply lt_0_INR; lia).
  set (N := INR (S a)) in *. assert (HiN : 0 < / N) by (apply Rinv_0_lt_compat, HN).
  rewrite Forall_forall in HF.
  set (p1 := fun z : X * Y => / N * conditional (fst z) (snd z)).
  set (q1 := fun z : X * Y => / N * py (snd z)).
  assert (H1 : sum (list_prod s ys) (fun z => p1 z * Psi (fst z) s (snd z))
     <= KL (list_prod s ys) p1 q1).
  { apply variational_le1.
    - intros z. apply Rmult_le_pos; [lra|apply conditional_nonneg].
    - intros z. apply Rmult_le_pos; [lra|apply py_nonneg; assumption].
    - unfold p1. rewrite sum_prod. simpl.
      rewrite (sum_ext s _ (fun _ => / N)).
      + rewrite sum_const, Hs. fold N. apply Rinv_r. lra.
      + intros x Hx. rewrite sum_scal. change (fun b0 => conditional x b0) with (conditional x).
        rewrite conditional_sum by (apply HF, Hx). ring.
    - intros [x y] Hz Hq. apply in_prod_iff in Hz. destruct Hz as [Hx Hy].
      unfold p1, q1 in *. simpl in *. apply Rmult_integral in Hq.
      destruct Hq as [Hq|Hq]; [lra|].
      unfold conditional. rewrite (py_zero xs ys p p_table x y); [ring|apply HF, Hx|exact Hq].
    - rewrite sum_prod. unfold q1. simpl.
      rewrite (sum_ext s _ (fun x => / N * sum ys (fun y => py y * exp (Psi x s y))))
        by (intros x _; rewrite <- sum_scal; apply sum_ext; intros; ring).
      rewrite sum_scal. pose proof (row_bound s Hs) as HR. fold N in HR.
      apply Rmult_le_compat_l with (r := / N) in HR; [|lra]. rewrite Rinv_l in HR by lra. exact HR. }
  unfold KL in H1. rewrite !sum_prod in H1. unfold p1, q1 in H1. simpl in H1.
  rewrite (sum_ext s _ (fun x => / N * H x s)) in H1
    by (intros x _; unfold H; rewrite <- sum_scal; apply sum_ext; intros; ring).
  rewrite (sum_ext s (fun a0 => sum ys _) (fun x => / N * mean_log x)) in H1.
  2:{ intros x _. unfold mean_log. rewrite <- sum_scal. apply sum_ext; intros y _.
      rewrite Rmult_assoc. do 3 f_equal. unfold Rdiv. rewrite Rinv_mult, Rinv_inv.
      transitivity ((/ N * N) * (conditional x y * / py y)); [ring|rewrite Rinv_l by lra; ring]. }
  rewrite !sum_scal in H1. apply Rmult_le_reg_l with (/ N); [exact HiN|exact H1].
Qed.

(** `lem-sub-board`: one sub-board is a lower bound. *)
Theorem subboard_valid : sub_board a b tau g <= I xs ys p.
Proof.
  assert (HN : 0 < INR (S a)) by (apply lt_0_INR; lia).
  apply Rmult_le_reg_l with (INR (S a)); [exact HN|].
  assert (Hsub : sub_board a b tau g = sum xs (fun x => px x * E xs px a (fun s => H x (x :: s)))).
  { unfold sub_board. apply sum_ext; intros x _. unfold H. rewrite E_sum, <- sum_scal.
    apply sum_ext; intros y Hy. rewrite E_scal, <- Rmult_assoc, <- (conditional_eq x y Hy). reflexivity. }
  rewrite Hsub, <- (E_pick xs px a (fun x s => H x s)).
  2:{ intros x s s' Hss. unfold H. apply sum_ext; intros y _. f_equal. unfold Psi.
      apply E_ext; intros t _. unfold G. rewrite (sum_perm _ _ (fun x => g x y) Hss).
      do 4 f_equal. apply sum_ext; intros y' _. apply sum_perm, Hss. }
  rewrite I_mean_log, <- (E_linear xs px (S a) mean_log) by exact p_sum.
  apply E_le_supp; [apply px_nonneg; assumption|]. intros s Hs HF. apply row_gibbs; assumption.
Qed.
End Sub.

(** ## From sub-boards to the batch *)

Variable g : X -> Y -> R.
Hypothesis g_pos : critic g.
(** The value of the anchor of [z] with the letter of [z']. *)
Let f (z z' : X * Y) := g (fst z) (snd z').

(** The normaliser Z of a batch with weight [al]; it does not see the order of the batch. *)
Definition normaliser n al t := al * sum t (fun z => f z z) + beta n al * sum t (fun z => sum t (f z) - f z z).

Lemma normaliser_perm n al t t' : Permutation t t' -> normaliser n al t = normaliser n al t'.
Proof.
  intros H. unfold normaliser. rewrite !(sum_perm _ _ _ H). do 2 f_equal.
  apply sum_ext; intros z _. rewrite (sum_perm _ _ _ H). reflexivity.
Qed.

Lemma normaliser_pos n al t : (2 <= n)%nat -> 0 < al <= INR n -> length t = n -> 0 < normaliser n al t.
Proof.
  intros Hn [Ha Han] Ht. pose proof (beta_nonneg n al Hn Han) as Hb.
  assert (Hf : forall z z', 0 < f z z') by (intros; apply g_pos).
  assert (H1 : 0 < sum t (fun z => f z z)).
  { destruct t as [|z t]; [simpl in Ht; lia|]. simpl. pose proof (Hf z z).
    assert (0 <= sum t (fun z => f z z)) by (apply sum_nonneg; intros; left; auto). lra. }
  assert (H2 : 0 <= sum t (fun z => sum t (f z) - f z z)).
  { apply sum_nonneg. intros z Hz. assert (f z z <= sum t (f z)); [|lra].
    apply (In_le (f z)); [intros; apply Hf|exact Hz]. }
  unfold normaliser. assert (0 < al * sum t (fun z => f z z)) by (apply Rmult_lt_0_compat; assumption).
  assert (0 <= beta n al * sum t (fun z => sum t (f z) - f z z)) by (apply Rmult_le_pos; assumption).
  lra.
Qed.

Definition mean_score := sum cells (fun z => P z * ln (f z z)).

(** J as the mean score minus the mean of ln Z. *)
Lemma batch_eq n al : (2 <= n)%nat -> 0 < al <= INR n ->
  MLCPC_batch xs ys p n al g = mean_score + E cells P n (fun t => ln (INR n * INR n) - ln (normaliser n al t)).
Proof.
  intros Hn Ha. assert (HN : 0 < INR n) by (apply lt_0_INR; lia).
  assert (HNN : 0 < INR n * INR n) by (apply Rmult_lt_0_compat; exact HN).
  assert (HL : mean_score = E cells P n (fun t => / INR n * sum t (fun z => ln (f z z)))).
  { rewrite E_scal, E_linear by (apply P_sum; assumption). unfold mean_score. field. lra. }
  rewrite HL, <- E_plus. unfold MLCPC_batch. apply E_ext. intros t Ht.
  pose proof (normaliser_pos n al t Hn Ha Ht) as HZ.
  rewrite (sum_ext t _ (fun z => ln (f z z) + (ln (INR n * INR n) - ln (normaliser n al t)))).
  - rewrite sum_plus, sum_const, Ht. field. lra.
  - intros z _. change (on g z) with (f z z). change (al * _ + _) with (normaliser n al t).
    pose proof (g_pos (fst z) (snd z)) as Hg. fold (f z z) in Hg.
    rewrite ln_div', ln_mult by (try assumption; apply Rmult_lt_0_compat; assumption). ring.
Qed.

Lemma board_pos tau be z0 s t : 0 < tau -> 0 <= be -> 0 < board f tau be z0 s t.
Proof.
  intros Ht Hb. assert (Hf : forall z z', 0 < f z z') by (intros; apply g_pos).
  unfold board. simpl.
  assert (0 <= sum s (fun z => f z z0)) by (apply sum_nonneg; intros; left; apply Hf).
  pose proof (Hf z0 z0).
  assert (0 < tau * (f z0 z0 + sum s (fun z => f z z0))) by (apply Rmult_lt_0_compat; lra).
  assert (0 <= be * sum t (fun z' => f z0 z' + sum s (fun z => f z z'))); [|lra].
  apply Rmult_le_pos; [exact Hb|]. apply sum_nonneg; intros z' _.
  pose proof (Hf z0 z'). assert (0 <= sum s (fun z => f z z')); [|lra].
  apply sum_nonneg; intros; left; apply Hf.
Qed.

(** The sub-board again, written with pairs of the batch. *)
Lemma sub_board_cells a b tau : sub_board a b tau g = sum cells (fun z0 => P z0 * E cells P a (fun s => E cells P b (fun t =>
  ln (INR (S a) * INR (b + 1) * f z0 z0 / board f tau (beta (b + 1) tau) z0 s t)))).
Proof.
  unfold sub_board, mutual_information.cells at 1. rewrite sum_prod. apply sum_ext; intros x0 _. apply sum_ext; intros y0 _.
  unfold mutual_information.P at 1. simpl fst. simpl snd. f_equal.
  rewrite <- (E_letters_x xs ys p). apply E_ext; intros s _. rewrite <- (E_letters_y xs ys p).
  apply E_ext; intros t _. unfold f at 1. simpl fst; simpl snd. f_equal. f_equal.
  unfold board, f. simpl. rewrite !sum_map. do 2 f_equal.
  apply sum_ext; intros z' _. rewrite sum_map. reflexivity.
Qed.

(** A split into [a + 1] rows and [b + 1] columns. No sum over splits is needed: the tangent of ln at
[W Z / n ^ 2] gives [ln D <= ln (Z W / n ^ 2) + n ^ 2 D / (W Z) - 1], and the mean of [D / Z] is
[W / n ^ 2] by exchangeability. *)
Theorem batch_split a b tau : (1 <= b)%nat -> valid (b + 1) tau -> 0 < tau <= INR (b + 1) ->
  MLCPC_batch xs ys p (a + b + 1) (tau * INR (a + b + 1) / (INR (a + 1) * INR (b + 1))) g <= I xs ys p.
Proof.
  intros Hb HV Htau. eapply Rle_trans; [|apply (subboard_valid a b tau g Hb HV Htau g_pos)].
  rewrite sub_board_cells. replace (a + 1)%nat with (S a) by lia.
  replace (a + b + 1)%nat with (S (a + b)) by lia.
  set (n := S (a + b)). set (N := INR n). set (W := INR (S a) * INR (b + 1)).
  set (al := tau * N / W). set (be := beta (b + 1) tau).
  assert (Hn : (2 <= n)%nat) by (unfold n; lia).
  assert (HNa : INR (S a) = INR a + 1) by apply S_INR.
  assert (HNb : INR (b + 1) = INR b + 1) by (rewrite plus_INR; reflexivity).
  assert (HN : N = INR a + INR b + 1) by (unfold N, n; rewrite S_INR, plus_INR; ring).
  pose proof (pos_INR a) as Ha0. assert (Hb1 : 1 <= INR b) by (apply (le_INR 1), Hb).
  assert (HW : 0 < W) by (unfold W; apply Rmult_lt_0_compat; lra).
  assert (Hbe0 : 0 <= be) by (apply beta_nonneg; [lia|apply Htau]).
  assert (HNp : 0 < N) by lra.
  assert (Hal : 0 < al <= N).
  { unfold al. split.
    - apply Rdiv_lt_0_compat; [apply Rmult_lt_0_compat; lra|exact HW].
    - apply Rmult_le_reg_r with W; [exact HW|]. unfold Rdiv. rewrite Rmult_assoc, Rinv_l, Rmult_1_r by lra.
      rewrite (Rmult_comm N). apply Rmult_le_compat_r; [lra|]. unfold W. rewrite HNa. nra. }
  rewrite batch_eq by assumption. fold N.
  assert (HNN : 0 < N * N) by (apply Rmult_lt_0_compat; exact HNp).
  set (S0 := fun t => / normaliser n al t).
  assert (HS0 : forall t t', Permutation t t' -> S0 t = S0 t')
    by (intros t t' Ht; unfold S0; rewrite (normaliser_perm n al t t' Ht); reflexivity).
  (* E [D / Z] = W / n^2 *)
  set (d := diagonal cells P S0 f (a + b)). set (o := off_diagonal cells P S0 f (a + b - 1)).
  assert (Hbb : be * INR b = INR b + 1 - tau) by (unfold be, beta; rewrite HNb; field; lra).
  assert (Hbn : beta n al * INR (a + b) = N - al).
  { unfold beta. fold N. rewrite plus_INR, HN. field. lra. }
  assert (Hone : N * (al * d + (N - al) * o) = 1).
  { transitivity (E cells P n (fun t => al * (S0 t * sum t (fun z => f z z))
       + beta n al * (S0 t * sum t (fun z => sum t (f z) - f z z)))).
    - rewrite E_plus, !E_scal. 
      assert (Hd := diag_all cells P S0 HS0 f (a + b)). assert (Ho := off_all cells P S0 HS0 f (a + b)).
      fold n in Hd, Ho. fold N in Hd, Ho. fold d in Hd. fold o in Ho.
      cbv beta in Hd, Ho |- *. rewrite Hd, Ho. rewrite <- Hbn. ring.
    - rewrite <- (E_const cells P P_sum n 1). apply E_ext; intros t Ht.
      pose proof (normaliser_pos n al t Hn Hal Ht) as HZ.
      transitivity (S0 t * normaliser n al t); [unfold normaliser; ring|unfold S0; apply Rinv_l; lra]. }
  assert (HDD : N * N / W * sum cells (fun z0 => P z0 * E cells P a (fun s => E cells P b (fun t =>
      S0 (z0 :: s ++ t) * board f tau be z0 s t))) = 1).
  { rewrite mean_board by exact HS0. fold d. fold o.
    replace (tau * INR a + be * (INR (S a) * INR b)) with (W - tau)
      by (unfold W; rewrite (Rmult_comm (INR (S a)) (INR b)), <- Rmult_assoc, Hbb, HNa, HNb; ring).
    rewrite <- Hone. unfold al. field. lra. }
  (* sums *)
  set (T1 := sum cells (fun z0 => P z0 * E cells P a (fun s => E cells P b (fun t =>
     ln (f z0 z0) + (ln (N * N) - ln (normaliser n al (z0 :: s ++ t))))))).
  set (T2 := sum cells (fun z0 => P z0 * E cells P a (fun s => E cells P b (fun t =>
     ln (W * f z0 z0 / board f tau be z0 s t))))).
  assert (H1 : mean_score + E cells P n (fun t => ln (N * N) - ln (normaliser n al t)) = T1).
  { unfold n at 1, mean_score, T1. simpl E. rewrite <- sum_plus. apply sum_ext; intros z0 _.
    rewrite E_app, <- Rmult_plus_distr_l. f_equal.
    assert (Hc : forall k F c, c + E cells P k F = E cells P k (fun t => c + F t)).
    { intros k F c. rewrite E_plus, E_const by (apply P_sum; assumption). reflexivity. }
    rewrite Hc. apply E_ext; intros s _. rewrite Hc. reflexivity. }
  rewrite H1.
  apply Rle_trans with (T2 + (N * N / W * sum cells (fun z0 => P z0 * E cells P a (fun s => E cells P b (fun t =>
      S0 (z0 :: s ++ t) * board f tau be z0 s t))) - 1)); [|rewrite HDD; lra].
  assert (HK : 1 = sum cells (fun z0 => P z0 * E cells P a (fun s => E cells P b (fun t => 1)))).
  { rewrite (sum_ext cells _ (fun z0 => P z0)); [symmetry; apply P_sum; assumption|].
    intros z0 _. rewrite !E_const by (apply P_sum; assumption). ring. }
  rewrite HK at 1. rewrite <- sum_scal, <- sum_minus. unfold T1, T2.
  rewrite <- sum_plus. apply sum_le; intros z0 _.
  match goal with |- P z0 * ?A <= P z0 * ?B + (?u * (P z0 * ?C) - P z0 * ?D) =>
    replace (P z0 * B + (u * (P z0 * C) - P z0 * D)) with (P z0 * (B + (u * C + (-1) * D))) by ring end.
  apply Rmult_le_compat_l; [apply P_nonneg; assumption|].
  rewrite <- !E_scal, <- !E_plus. apply E_le; [apply P_nonneg; assumption|]. intros s Hs.
  rewrite <- !E_scal, <- !E_plus. apply E_le; [apply P_nonneg; assumption|]. intros t Ht.
  assert (HZ : 0 < normaliser n al (z0 :: s ++ t))
    by (apply normaliser_pos; try assumption; simpl; rewrite app_length; unfold n; lia).
  unfold S0. set (Z := normaliser n al (z0 :: s ++ t)) in *.
  pose proof (board_pos tau be z0 s t (proj1 Htau) Hbe0) as HDp.
  set (D := board f tau be z0 s t) in *.
  pose proof (g_pos (fst z0) (snd z0)) as Hg. fold (f z0 z0) in Hg.
  rewrite ln_div', (ln_mult W) by (try assumption; apply Rmult_lt_0_compat; assumption).
  assert (HA : 0 < N * N * D / (W * Z))
    by (apply Rdiv_lt_0_compat; apply Rmult_lt_0_compat; assumption).
  pose proof (ln_le_sub1 _ HA) as Hl.
  rewrite ln_div', (ln_mult (N * N) D), (ln_mult W Z) in Hl by (try assumption; apply Rmult_lt_0_compat; assumption).
  replace (N * N / W * (/ Z * D)) with (N * N * D / (W * Z)) by (field; lra).
  lra.
Qed.


(** Larger weights: Z is affine in the weight, ln is concave, and at [alpha = n] nothing is left. *)
Theorem batch_up n a0 al : (2 <= n)%nat -> 0 < a0 <= al -> al <= INR n ->
  MLCPC_batch xs ys p n a0 g <= I xs ys p -> MLCPC_batch xs ys p n al g <= I xs ys p.
Proof.
  intros Hn [H0 Ha] Han HM. assert (Hn2 : 2 <= INR n) by (apply (le_INR 2), Hn).
  destruct (Req_dec a0 al) as [<-|Hne]; [exact HM|].
  assert (HMn : MLCPC_batch xs ys p n (INR n) g <= I xs ys p).
  { apply valid_batch; try assumption; [apply valid_ge_1; [exact Hn|lra]|lra]. }
  set (th := (al - a0) / (INR n - a0)).
  assert (Hth : 0 <= th <= 1).
  { unfold th. split.
    - apply Rmult_le_pos; [lra|left; apply Rinv_0_lt_compat; lra].
    - apply Rmult_le_reg_r with (INR n - a0); [lra|]. unfold Rdiv.
      rewrite Rmult_assoc, Rinv_l; lra. }
  assert (Hal : al = (1 - th) * a0 + th * INR n) by (unfold th; field; lra).
  rewrite batch_eq in HM, HMn |- * by (try assumption; lra).
  set (K := ln (INR n * INR n)) in *.
  set (e0 := E cells P n (fun t => K - ln (normaliser n a0 t))) in *.
  set (e1 := E cells P n (fun t => K - ln (normaliser n (INR n) t))) in *.
  assert (H : E cells P n (fun t => K - ln (normaliser n al t)) <= (1 - th) * e0 + th * e1); [|nra].
  unfold e0, e1. rewrite <- !E_scal, <- E_plus. apply E_le; [apply P_nonneg; assumption|].
  intros t Ht.
  pose proof (ln_mix th _ _ Hth (normaliser_pos n a0 t Hn ltac:(lra) Ht) (normaliser_pos n (INR n) t Hn ltac:(lra) Ht)) as Hc.
  replace ((1 - th) * normaliser n a0 t + th * normaliser n (INR n) t) with (normaliser n al t) in Hc; [lra|].
  unfold normaliser. rewrite Hal at 1. unfold beta. rewrite Hal. field. lra.
Qed.

Theorem batch_split_up a b tau al : (1 <= b)%nat -> valid (b + 1) tau -> 0 < tau <= INR (b + 1) ->
  tau * INR (a + b + 1) / (INR (a + 1) * INR (b + 1)) <= al <= INR (a + b + 1) ->
  MLCPC_batch xs ys p (a + b + 1) al g <= I xs ys p.
Proof.
  intros Hb HV Ht [H1 H2].
  apply batch_up with (tau * INR (a + b + 1) / (INR (a + 1) * INR (b + 1)));
    [lia| |exact H2|apply batch_split; assumption].
  split; [|exact H1]. apply Rdiv_lt_0_compat; apply Rmult_lt_0_compat; try lra; apply lt_0_INR; lia.
Qed.

(** `thm-in-batch` (T1), any [tau] that is valid for [b + 1 = n - a] candidates. *)
Theorem batch_T1 n tau al : let a := ((n - 1) / 2)%nat in (2 <= n)%nat ->
  valid (n - a) tau -> 0 < tau <= INR (n - a) ->
  tau * INR n / (INR (a + 1) * INR (n - a)) <= al <= INR n ->
  MLCPC_batch xs ys p n al g <= I xs ys p.
Proof.
  intros a Hn HV Ht Hal.
  assert (Ha : (2 * a <= n - 1)%nat) by (apply Nat.mul_div_le; lia).
  set (b := (n - 1 - a)%nat). replace (n - a)%nat with (b + 1)%nat in * by (unfold b; lia).
  assert (Hn' : n = (a + b + 1)%nat) by (unfold b; lia).
  rewrite Hn' in Hal |- *. apply batch_split_up with tau; try assumption.
  unfold b. lia.
Qed.
End Joint.

(** The smallest proved weight of `thm-in-batch`, with [tau = 2/e]. *)
Definition alpha_batch (n : nat) : R :=
  let a := ((n - 1) / 2)%nat in 2 * exp (-1) * INR n / (INR (a + 1) * INR (n - a)).

(** Its two forms on the page. *)
Lemma alpha_batch_even k : (1 <= k)%nat ->
  alpha_batch (2 * k) = 4 * (2 * exp (-1)) / (INR (2 * k) + 2).
Proof.
  intros Hk. unfold alpha_batch.
  assert (Ha : ((2 * k - 1) / 2)%nat = (k - 1)%nat).
  { replace (2 * k - 1)%nat with (1 + (k - 1) * 2)%nat by lia. rewrite Nat.div_add by lia. reflexivity. }
  rewrite Ha. replace (k - 1 + 1)%nat with k by lia. replace (2 * k - (k - 1))%nat with (S k) by lia.
  rewrite S_INR, mult_INR. assert (1 <= INR k) by (apply (le_INR 1), Hk). simpl. field. lra.
Qed.

Lemma alpha_batch_odd k : (1 <= k)%nat ->
  alpha_batch (2 * k + 1) = 4 * INR (2 * k + 1) * (2 * exp (-1)) / (INR (2 * k + 1) + 1) ^ 2.
Proof.
  intros Hk. unfold alpha_batch.
  assert (Ha : ((2 * k + 1 - 1) / 2)%nat = k).
  { replace (2 * k + 1 - 1)%nat with (k * 2)%nat by lia. apply Nat.div_mul. lia. }
  rewrite Ha. replace (2 * k + 1 - k)%nat with (k + 1)%nat by lia.
  rewrite !plus_INR, mult_INR. assert (1 <= INR k) by (apply (le_INR 1), Hk). simpl. field. lra.
Qed.

Lemma alpha_batch_pos n : (2 <= n)%nat -> 0 < alpha_batch n <= INR n.
Proof.
  intros Hn. unfold alpha_batch. pose proof (exp_pos (-1)) as He.
  assert (He1 : exp (-1) <= / 2).
  { pose proof (exp_ineq1_le 1) as H. assert (exp (-1) * exp 1 = 1)
      by (rewrite <- exp_plus; replace (-1 + 1) with 0 by ring; apply exp_0). nra. }
  set (a := ((n - 1) / 2)%nat).
  assert (Ha : (2 * a <= n - 1)%nat) by (apply Nat.mul_div_le; lia).
  assert (H1 : 1 <= INR (a + 1)) by (apply (le_INR 1); lia).
  assert (H2 : 1 <= INR (n - a)) by (apply (le_INR 1); lia).
  assert (H3 : 0 < INR n) by (apply lt_0_INR; lia).
  assert (Hd : 1 <= INR (a + 1) * INR (n - a)) by nra. split.
  - apply Rdiv_lt_0_compat; [repeat apply Rmult_lt_0_compat; lra|lra].
  - apply Rmult_le_reg_r with (INR (a + 1) * INR (n - a)); [lra|].
    unfold Rdiv. rewrite Rmult_assoc, Rinv_l, Rmult_1_r by lra. nra.
Qed.

Section Headlines.
Context {X Y : Type}.
Variables (xs : list X) (ys : list Y) (p : X -> Y -> R).
Hypothesis p_table : table xs ys p.

(** `thm-in-batch` (T1) *)
Theorem batch_small_2e n alpha g : (2 <= n)%nat -> alpha_batch n <= alpha <= INR n -> critic g ->
  MLCPC_batch xs ys p n alpha g <= I xs ys p.
Proof.
  intros Hn Ha Hg. set (a := ((n - 1) / 2)%nat).
  assert (H2a : (2 * a <= n - 1)%nat) by (apply Nat.mul_div_le; lia).
  assert (Hb : 2 <= INR (n - a)) by (apply (le_INR 2); lia).
  pose proof (exp_pos (-1)) as He.
  assert (He1 : exp (-1) <= 1) by (rewrite <- exp_0; apply exp_le; lra).
  apply (batch_T1 xs ys p p_table g Hg n (2 * exp (-1)) alpha Hn); fold a.
  - apply theorem_A; [lia|lra].
  - lra.
  - exact Ha.
Qed.

(** `thm-in-batch` (T1) with [tau = 1]: exchangeability alone, no use of Theorem A. *)
Theorem batch_small_1 n alpha g : let a := ((n - 1) / 2)%nat in (2 <= n)%nat ->
  INR n / (INR (a + 1) * INR (n - a)) <= alpha <= INR n -> critic g ->
  MLCPC_batch xs ys p n alpha g <= I xs ys p.
Proof.
  intros a Hn Ha Hg.
  assert (H2a : (2 * a <= n - 1)%nat) by (apply Nat.mul_div_le; lia).
  assert (Hb : 2 <= INR (n - a)) by (apply (le_INR 2); lia).
  apply (batch_T1 xs ys p p_table g Hg n 1 alpha Hn); fold a;
    [apply valid_ge_1; [lia|lra]|lra|rewrite Rmult_1_l; exact Ha].
Qed.

(** The proved ceiling of a batch: about [2 log n - 1.08]. *)
Corollary batch_best n g : (2 <= n)%nat -> critic g ->
  MLCPC_batch xs ys p n (alpha_batch n) g <= Rmin (I xs ys p) (ln (INR n / alpha_batch n)).
Proof.
  intros Hn Hg. pose proof (alpha_batch_pos n Hn). apply Rmin_glb.
  - apply batch_small_2e; try assumption. lra.
  - apply MLCPC_batch_cap; assumption.
Qed.

(** `prp-batch-defect` (T3): what a smaller weight can cost. *)
Theorem batch_defect n alpha g : (2 <= n)%nat -> 0 < alpha <= alpha_batch n -> critic g ->
  MLCPC_batch xs ys p n alpha g <= I xs ys p + ln (alpha_batch n / alpha).
Proof.
  intros Hn Ha Hg. pose proof (alpha_batch_pos n Hn) as [Hb0 Hbn].
  pose proof (batch_small_2e n (alpha_batch n) g Hn ltac:(lra) Hg) as H1.
  set (ab := alpha_batch n) in *.
  rewrite (batch_eq xs ys p p_table g Hg) in H1 by (try assumption; lra).
  rewrite (batch_eq xs ys p p_table g Hg) by (try assumption; lra).
  set (K := ln (INR n * INR n)) in *.
  assert (HE : E (cells xs ys) (P p) n (fun t => K - ln (normaliser g n alpha t))
    <= E (cells xs ys) (P p) n (fun t => K - ln (normaliser g n ab t)) + ln (ab / alpha)); [|lra].
  rewrite <- (E_const (cells xs ys) (P p) (P_sum xs ys p p_table) n (ln (ab / alpha))).
  rewrite <- E_plus. apply E_le; [apply (P_nonneg xs ys p p_table)|]. intros t Ht.
  pose proof (normaliser_pos g Hg n alpha t Hn ltac:(lra) Ht) as HZ.
  pose proof (normaliser_pos g Hg n ab t Hn ltac:(lra) Ht) as HZb.
  assert (Hq : 0 < ab / alpha) by (apply Rdiv_lt_0_compat; lra).
  assert (ln (normaliser g n ab t) <= ln (ab / alpha) + ln (normaliser g n alpha t)); [|lra].
  rewrite <- ln_mult by assumption. apply ln_le'; [exact HZb|].
  unfold normaliser. set (D := ∑ z ∈ t, g (fst z) (snd z)).
  set (O := ∑ z ∈ t, (sum t (fun z' => g (fst z) (snd z')) - g (fst z) (snd z))).
  assert (HO : 0 <= O).
  { apply sum_nonneg. intros z Hz.
    pose proof (In_le (fun z' => g (fst z) (snd z')) z t ltac:(intros; apply Hg) Hz). cbv beta in *. lra. }
  assert (Hbeta : beta n ab <= ab / alpha * beta n alpha).
  { assert (2 <= INR n) by (apply (le_INR 2), Hn).
    apply Rle_trans with (beta n alpha).
    - unfold beta. apply Rmult_le_compat_r; [left; apply Rinv_0_lt_compat; lra|lra].
    - rewrite <- (Rmult_1_l (beta n alpha)) at 1.
      apply Rmult_le_compat_r; [apply beta_nonneg; [exact Hn|lra]|].
      apply Rmult_le_reg_r with alpha; [lra|]. unfold Rdiv. rewrite Rmult_assoc, Rinv_l; lra. }
  apply Rmult_le_compat_r with (r := O) in Hbeta; [|exact HO].
  replace (ab / alpha * (alpha * D + beta n alpha * O)) with (ab * D + ab / alpha * beta n alpha * O)
    by (field; lra).
  lra.
Qed.
End Headlines.

(** ## Symmetric critics need less

`prp-batch-symmetric` (T2): the critic gives the pair of the anchor of one point and the letter of
another the same value as the other way round. Every critic of a copy does. *)
Section Symmetric.
Context {X Y : Type}.
Variables (xs : list X) (ys : list Y) (p : X -> Y -> R).
Hypothesis p_table : table xs ys p.
Notation cells := (mutual_information.cells xs ys).
Notation P := (mutual_information.P p).
Notation Q := (mutual_information.Q xs ys p).
Notation P_nonneg := (mutual_information.P_nonneg xs ys p p_table).
Notation P_sum := (mutual_information.P_sum xs ys p p_table).
Variable g : X -> Y -> R.
Hypothesis g_pos : critic g.
Hypothesis symmetric : forall x y x' y', 0 < p x y -> 0 < p x' y' -> g x y' = g x' y.
Let f (z z' : X * Y) := g (fst z) (snd z').

(** All cells of a board off its diagonal, and all but one point's own with those of that point. *)
Let off (t : list (X * Y)) := ∑ z ∈ t, (sum t (f z) - f z z).
Let cross (z : X * Y) (s : list (X * Y)) := sum s (f z) + ∑ z' ∈ s, f z' z.

Let f_pos z z' : 0 < f z z'. Proof. apply g_pos. Qed.

Let off_cons z s : off (z :: s) = cross z s + off s.
Proof.
  unfold off, cross. cbn [finite.sum].
  rewrite (sum_ext s (fun z0 => f z0 z + sum s (f z0) - f z0 z0)
    (fun z0 => f z0 z + (sum s (f z0) - f z0 z0))) by (intros; ring).
  rewrite sum_plus. ring.
Qed.

Let off_perm t t' : Permutation t t' -> off t = off t'.
Proof.
  intros H. unfold off. rewrite !(sum_perm _ _ _ H). apply sum_ext; intros z _.
  rewrite (sum_perm _ _ _ H). reflexivity.
Qed.

Let cross_nonneg z s : 0 <= cross z s.
Proof.
  unfold cross. assert (0 <= sum s (f z)) by (apply sum_nonneg; intros; left; apply f_pos).
  assert (0 <= ∑ z' ∈ s, f z' z) by (apply sum_nonneg; intros; left; apply f_pos). lra.
Qed.

Let off_nonneg t : 0 <= off t.
Proof.
  induction t as [|z t IH]; [unfold off; simpl; lra|]. rewrite off_cons.
  pose proof (cross_nonneg z t). lra.
Qed.

Let off_pos z z' t : 0 < off (z :: z' :: t).
Proof.
  rewrite !off_cons. pose proof (off_nonneg t). pose proof (cross_nonneg z' t).
  assert (0 < cross z (z' :: t)); [|lra]. unfold cross. cbn [finite.sum].
  pose proof (f_pos z z'). pose proof (f_pos z' z). pose proof (cross_nonneg z t).
  unfold cross in *. lra.
Qed.

(** The share of one point, and their mean. *)
Let Zi (z : X * Y) (t : list (X * Y)) := 2 * f z z + off t + (cross z t - 2 * f z z).

Let Zi_cons z s : Zi z (z :: s) = 2 * f z z + off s + 2 * cross z s.
Proof. unfold Zi. rewrite off_cons. unfold cross. cbn [finite.sum]. ring. Qed.

Let Zi_sum n t : (2 <= n)%nat -> length t = n ->
  sum t (fun z => Zi z t) = (INR n + 1) * normaliser g n (2 / (INR n + 1)) t.
Proof.
  intros Hn Ht. assert (HN : 2 <= INR n) by (apply (le_INR 2), Hn).
  assert (Hoff : ∑ z ∈ t, sum t (f z) = off t + ∑ z ∈ t, f z z).
  { unfold off. rewrite sum_minus. ring. }
  rewrite (sum_ext t _ (fun z => off t + (sum t (f z) + ∑ z' ∈ t, f z' z)))
    by (intros; unfold Zi, cross; ring).
  rewrite !sum_plus, sum_const, Ht.
  rewrite (sum_swap t t (fun z z' => f z' z)).
  change (∑ b ∈ t, ∑ a ∈ t, f b a) with (∑ z ∈ t, sum t (f z)). rewrite Hoff.
  unfold normaliser, beta. change (∑ z ∈ t, g (fst z) (snd z)) with (∑ z ∈ t, f z z).
  change (∑ z ∈ t, (sum t (fun z' => g (fst z) (snd z')) - g (fst z) (snd z))) with (off t).
  field. lra.
Qed.

(** A pair from the product of the marginals is the anchor of one point with the letter of another. *)
Let Q_pairs F : ∑ z ∈ cells, Q z * F (fst z) (snd z)
  = ∑ a ∈ cells, P a * ∑ b ∈ cells, P b * F (fst a) (snd b).
Proof.
  unfold mutual_information.cells. rewrite !sum_prod.
  apply sum_ext; intros x _.
  transitivity (px ys p x * (∑ y ∈ ys, py xs p y * F x y)).
  { rewrite <- sum_scal. apply sum_ext; intros y _. unfold mutual_information.Q; simpl; ring. }
  assert (Hin : sum (list_prod xs ys) (fun b => P b * F x (snd b))
    = ∑ y' ∈ ys, py xs p y' * F x y').
  { rewrite sum_prod, sum_swap. apply sum_ext; intros y' _. simpl.
    unfold mutual_information.P. simpl. rewrite sum_scal_r. reflexivity. }
  unfold px. rewrite <- sum_scal_r. apply sum_ext; intros y _. simpl.
  rewrite Hin. reflexivity.
Qed.

Let bound n : (2 <= n)%nat ->
  MLCPC_batch xs ys p n (2 / (INR n + 1)) g <= I xs ys p.
Proof.
  intros Hn. assert (HN : 2 <= INR n) by (apply (le_INR 2), Hn).
  set (N := INR n) in *. set (al := 2 / (N + 1)).
  assert (Hal : 0 < al <= N).
  { unfold al. split; [apply Rdiv_lt_0_compat; lra|].
    apply Rmult_le_reg_r with (N + 1); [lra|]. unfold Rdiv. rewrite Rmult_assoc, Rinv_l by lra. nra. }
  destruct n as [|k]; [lia|].
  set (K := N * (N + 1)). assert (HK : 0 < K) by (unfold K; apply Rmult_lt_0_compat; lra).
  set (W := fun (z : X * Y) s => 2 * f z z + off s + 2 * cross z s).
  assert (HW : forall z s, 0 < W z s).
  { intros z s. unfold W. pose proof (f_pos z z). pose proof (off_nonneg s).
    pose proof (cross_nonneg z s). lra. }
  set (T := fun z => E cells P k (fun s => ln (K * f z z / W z s))).
  apply Rle_trans with (∑ z ∈ cells, P z * T z).
  - (* split the board into its points *)
    apply Rle_trans with (E cells P (S k) (fun t => / N * ∑ z ∈ t, ln (K * f z z / Zi z t))).
    + unfold MLCPC_batch. apply E_le; [exact P_nonneg|]. intros t Ht. fold N.
      apply Rmult_le_compat_l; [left; apply Rinv_0_lt_compat; lra|].
      assert (HZi : forall z, In z t -> 0 < Zi z t).
      { intros z Hz. unfold Zi. pose proof (off_nonneg t).
        assert (2 * f z z <= cross z t); [|pose proof (f_pos z z); lra].
        unfold cross. pose proof (In_le (f z) z t ltac:(intros; apply f_pos) Hz).
        pose proof (In_le (fun z' => f z' z) z t ltac:(intros; apply f_pos) Hz). cbv beta in *. lra. }
      pose proof (board_below_rows t (on g) (fun z => Zi z t) K ltac:(lia)
        ltac:(intros; apply on_pos, g_pos) HZi HK) as HB.
      rewrite (Zi_sum (S k) t Hn Ht), Ht in HB. fold N in HB. fold al in HB.
      eapply Rle_trans; [|exact HB]. right. apply sum_ext; intros z _. f_equal.
      pose proof (normaliser_pos g g_pos (S k) al t Hn Hal Ht) as HZ.
      change (N * N * on g z / normaliser g (S k) al t = N * K * on g z / ((N + 1) * normaliser g (S k) al t)).
      unfold K. field. lra.
    + rewrite E_scal, (E_pick cells P k (fun z t => ln (K * f z z / Zi z t))).
      2:{ intros z t t' Ht. replace (Zi z t') with (Zi z t); [reflexivity|]. unfold Zi, cross.
          rewrite (off_perm t t' Ht), !(sum_perm t t' _ Ht). reflexivity. }
      fold N. rewrite <- Rmult_assoc, Rinv_l, Rmult_1_l by lra. right.
      apply sum_ext; intros z _. unfold T. f_equal. apply E_ext; intros s _.
      rewrite Zi_cons. reflexivity.
  - apply (variational_table xs ys p p_table T).
    apply Rle_trans with (∑ z ∈ cells, Q z * E cells P k (fun s => K * f z z / W z s)).
    + apply sum_le; intros z _. apply Rmult_le_compat_l; [apply (Q_nonneg xs ys p p_table)|].
      unfold T. eapply Rle_trans; [apply E_jensen; [exact P_nonneg|exact P_sum]|].
      apply E_le; [exact P_nonneg|]. intros s _. right. apply exp_ln.
      apply Rdiv_lt_0_compat; [apply Rmult_lt_0_compat; [exact HK|apply f_pos]|apply HW].
    + eapply Rle_trans; [right; exact (Q_pairs (fun x y => E cells P k (fun s => K * g x y /
        (2 * g x y + off s + 2 * (∑ z' ∈ s, g x (snd z') + ∑ z' ∈ s, g (fst z') y)))))|].
      set (S0 := fun t => / off t).
      assert (HS0 : forall t t', Permutation t t' -> S0 t = S0 t')
        by (intros t t' Ht; unfold S0; rewrite (off_perm t t' Ht); reflexivity).
      pose proof (off_all cells P S0 HS0 f (S k)) as Hall.
      rewrite (E_ext cells P (S (S k)) _ (fun _ => 1)) in Hall.
      2:{ intros t Ht. destruct t as [|z [|z' t]]; [discriminate|discriminate|].
          change (S0 (z :: z' :: t) * off (z :: z' :: t) = 1). unfold S0. apply Rinv_l.
          pose proof (off_pos z z' t). lra. }
      rewrite (E_const cells P P_sum) in Hall. rewrite (S_INR (S k)) in Hall. fold N in Hall.
      replace (S k - 1)%nat with k in Hall by lia.
      replace ((N + 1) * (N * off_diagonal cells P S0 f k)) with (K * off_diagonal cells P S0 f k) in Hall
        by (unfold K; ring).
      rewrite Hall. unfold off_diagonal. rewrite <- sum_scal. apply sum_le; intros a Ha.
      replace (K * (P a * (∑ z' ∈ cells, P z' * E cells P k (fun t => S0 (a :: z' :: t) * f a z'))))
        with (P a * (K * (∑ z' ∈ cells, P z' * E cells P k (fun t => S0 (a :: z' :: t) * f a z'))))
        by ring.
      destruct (P_nonneg a) as [Hpa|Hpa]; [|rewrite <- Hpa; lra].
      apply Rmult_le_compat_l; [lra|]. rewrite <- sum_scal. apply sum_le; intros b Hb.
      replace (K * (P b * E cells P k (fun t => S0 (a :: b :: t) * f a b)))
        with (P b * (K * E cells P k (fun t => S0 (a :: b :: t) * f a b))) by ring.
      destruct (P_nonneg b) as [Hpb|Hpb]; [|rewrite <- Hpb; lra].
      apply Rmult_le_compat_l; [lra|]. rewrite <- E_scal.
      apply E_le_supp; [exact P_nonneg|]. intros s _ Hs. rewrite Forall_forall in Hs.
      assert (Hsym : forall z z', 0 < P z -> 0 < P z' -> f z z' = f z' z)
        by (intros z z' Hz Hz'; unfold f; apply symmetric; assumption).
      assert (Hoff : off (a :: b :: s) = 2 * f a b + off s + 2 * (sum s (f a) + ∑ z' ∈ s, f z' b)).
      { rewrite !off_cons. unfold cross. cbn [finite.sum].
        rewrite (Hsym b a Hpb Hpa).
        rewrite (sum_ext s (f b) (fun z' => f z' b)) by (intros z Hz; apply Hsym; [exact Hpb|apply Hs, Hz]).
        rewrite (sum_ext s (fun z' => f z' a) (f a)) by (intros z Hz; apply Hsym; [apply Hs, Hz|exact Hpa]).
        ring. }
      unfold S0. rewrite Hoff. right. unfold Rdiv. change (g (fst a) (snd b)) with (f a b).
      change (∑ z' ∈ s, g (fst a) (snd z')) with (sum s (f a)).
      change (∑ z' ∈ s, g (fst z') (snd b)) with (∑ z' ∈ s, f z' b). ring.
Qed.

(** `prp-batch-symmetric` (T2) *)
Theorem batch_symmetric n alpha : (2 <= n)%nat -> 2 / (INR n + 1) <= alpha <= INR n ->
  MLCPC_batch xs ys p n alpha g <= I xs ys p.
Proof.
  intros Hn Ha. assert (HN : 2 <= INR n) by (apply (le_INR 2), Hn).
  apply (batch_up xs ys p p_table g g_pos n (2 / (INR n + 1))); [exact Hn| |lra|apply bound, Hn].
  split; [apply Rdiv_lt_0_compat; lra|lra].
Qed.
End Symmetric.

(** ## False twins *)

Lemma exp_m1_above : exp (-1) <= 38/100.
Proof.
  assert (step : forall a b x y, 0 <= a -> a <= exp x -> b <= a * a -> y = x + x -> b <= exp y).
  { intros a b x y Ha Hx Hb ->. rewrite exp_plus. eapply Rle_trans; [exact Hb|].
    apply Rmult_le_compat; assumption. }
  assert (H0 : 17/16 <= exp (1/16)) by (pose proof (exp_ineq1_le (1/16)); lra).
  assert (H1 : 11289/10000 <= exp (1/8)) by (refine (step _ _ _ _ _ H0 _ _); lra).
  assert (H2 : 12744/10000 <= exp (1/4)) by (refine (step _ _ _ _ _ H1 _ _); lra).
  assert (H3 : 16240/10000 <= exp (1/2)) by (refine (step _ _ _ _ _ H2 _ _); lra).
  assert (H4 : 2637/1000 <= exp 1) by (refine (step _ _ _ _ _ H3 _ _); lra).
  assert (H5 : exp (-1) * exp 1 = 1)
    by (rewrite <- exp_plus; replace (-1 + 1) with 0 by ring; apply exp_0).
  pose proof (exp_pos (-1)). nra.
Qed.

(** T1 at .46 in place of [alpha_batch 2 = .7358]: two anchors and the copied bit. *)
Theorem batch_small_twin : ~ forall (X Y : Type) (xs : list X) (ys : list Y) p n alpha g,
  table xs ys p -> (2 <= n)%nat -> 60/100 * alpha_batch n <= alpha <= INR n -> critic g ->
  MLCPC_batch xs ys p n alpha g <= I xs ys p.
Proof.
  intros HF.
  assert (Ha2 : alpha_batch 2 = 2 * exp (-1)).
  { pose proof (alpha_batch_even 1 ltac:(lia)) as H. simpl in H. rewrite H. field. }
  pose proof exp_m1_above as He.
  specialize (HF _ _ _ _ _ 2%nat (46/100) (fun x y => if Bool.eqb x y then 1000 else 1)
    copy_table ltac:(lia) ltac:(rewrite Ha2; simpl; lra) ltac:(intros [|] [|]; simpl; lra)).
  rewrite batch_copy, copy_I in HF by lra.
  assert (2 * ln 2 < ln (2 * 1000 / (46/100 * 1000 + (2 - 46/100)))); [|lra].
  replace (2 * ln 2) with (ln 2 + ln 2) by ring. rewrite <- ln_mult by lra.
  apply ln_increasing; lra.
Qed.

(** No weight below [1/2] serves a batch of two. *)
Theorem batch_two_needs_half alpha : 0 < alpha < / 2 ->
  exists g, critic g /\ I bit bit copy < MLCPC_batch bit bit copy 2 alpha g.
Proof.
  intros Ha.
  set (G := 4 * (2 - alpha) / (2 - 4 * alpha) + 1).
  assert (HG : 0 < G).
  { assert (0 < 4 * (2 - alpha) / (2 - 4 * alpha)) by (apply Rdiv_lt_0_compat; lra). unfold G; lra. }
  exists (fun x y => if Bool.eqb x y then G else 1). split.
  - intros [|] [|]; simpl; lra.
  - rewrite batch_copy, copy_I by lra.
    assert (2 * ln 2 < ln (2 * G / (alpha * G + (2 - alpha)))); [|lra].
    replace (2 * ln 2) with (ln 2 + ln 2) by ring. rewrite <- ln_mult by lra.
    assert (Hd : 0 < alpha * G + (2 - alpha)) by nra.
    apply ln_increasing; [lra|]. apply Rmult_lt_reg_r with (alpha * G + (2 - alpha)); [exact Hd|].
    unfold Rdiv. rewrite (Rmult_assoc (2 * G)), Rinv_l by lra.
    assert (Hk : (2 - 4 * alpha) * G = 4 * (2 - alpha) + (2 - 4 * alpha)) by (unfold G; field; lra).
    lra.
Qed.
